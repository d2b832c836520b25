package sym

import (
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"2*(n+1)", "floor(n/2)", "Max(0, total_seq - Min(past_seq, total_seq))", "((h//16))**2 + 1", `"batch size" % 4 - m // -3`,
		"ceildiv(a, b)*min(a, b, 1) - 9223372036854775808*c", "floor(0.5*n + 1/4)", "((frames*batch)//batch)", "n**64", "?", "p2o.DynamicDimension.0",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ParseDim(s).Err() != nil {
			t.Fatalf("%q is a dim without value", s)
		}
		e, err := Parse(s)
		if err != nil {
			return
		}
		back, err := Parse(e.String())
		if len(e.String()) > maxText && err != nil {
			return
		}
		if err != nil || !back.Equal(e) {
			t.Fatalf("%q is %s, which reads as %s, %v", s, e, back, err)
		}
	})
}

func FuzzAlgebra(f *testing.F) {
	for _, s := range []string{"", "\x01\x00\x03abc", "\x04\x01\x02\x09\x08\x07\x06\x05\x04\x03\x02\x01", "\x02\x02\x02\x02\x09\x09\x03\x03\x01\x01\x0b\x0c\x0d"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 400 {
			return
		}
		s := &byteSource{data}
		checkAlgebra(t, draw(s, 3, 1+s.below(4)))
		checkContext(t, s)
		checkWithin(t, s)
	})
}
