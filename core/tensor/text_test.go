package tensor

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Every bit pattern of the types of up to 16 bits, and many of the wider ones, come
// back from their text as they were.
func TestTextIsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, d := range DTypes() {
		if d == String {
			continue
		}
		n := int64(1) << min(d.Bits(), 16)
		a := New(d, n)
		for i := range a.data {
			a.data[i] = byte(rnd.Uint32())
		}
		if d.Bits() <= 16 {
			for i := range n {
				a.setBits(i, uint64(i))
			}
		}
		if d == F32 || d == F64 || d.IsComplex() { // infinities, zeros and NaNs as well
			for i := range n / 2 {
				a.SetFloat(i, [...]float64{0, 1, -1e-5, 0.1, 1e30, 1.0 / 3}[i%6])
			}
			for i, s := range []string{"nan", "inf", "-inf", "-0", "0x7fc00001"} {
				if d.IsComplex() {
					s = "(" + s + ", " + s + ")"
				}
				if err := a.SetText(int64(i), s); err != nil {
					t.Fatal(err)
				}
			}
		}
		b := New(d, n)
		for i := range n {
			s := string(a.AppendText(nil, i))
			if err := b.SetText(i, s); err != nil {
				t.Fatalf("%s: %v", d, err)
			}
		}
		if !bytes.Equal(a.data, b.data) {
			t.Errorf("%s: differs after a round trip", d)
		}
	}
}

func TestSetTextErrors(t *testing.T) {
	for _, c := range []struct {
		d DType
		s string
	}{{I8, "128"}, {U4, "16"}, {U8, "-1"}, {F32, "1e39"}, {F32, "x"}, {Bool, "2"}, {F16, "0x10000"}, {C64, "1"}, {C64, "(1)"}, {C64, ""}, {String, "a"}, {I32, "0x1"}, {I64, ""}} {
		if err := New(c.d, 1).SetText(0, c.s); err == nil {
			t.Errorf("%s takes %q", c.d, c.s)
		}
	}
}
