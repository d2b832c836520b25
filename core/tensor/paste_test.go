package tensor

import "testing"

// elem is one element as a tensor.
func elem(t *Tensor, at []int64) *Tensor {
	e := New(t.DType())
	CopyElem(e, 0, t, t.At(at...))
	return e
}

// Positions along each axis, of elements of whole bytes, of parts of one, and of strings.
func TestPaste(t *testing.T) {
	for _, d := range []DType{F32, I64, U8, I4, U2, Bool, String, F16, C128} {
		for axis := range 3 {
			for _, at := range []int64{0, 1, 3} {
				dst, shape := New(d, 2, 3, 5), []int64{2, 3, 5}
				if shape[axis] = 2; at+2 > dst.Shape()[axis] {
					shape[axis] = max(0, dst.Shape()[axis]-at)
				}
				if at > dst.Shape()[axis] {
					continue
				}
				src := New(d, shape...)
				for i := range src.Len() {
					if d == String {
						src.SetStr(i, string(rune('a'+i)))
					} else {
						src.SetInt(i, 1)
					}
				}
				written, err := Paste(dst, axis, at, src)
				if err != nil {
					t.Fatal(err)
				}
				set := int64(0)
				for i := range dst.Len() {
					p := []int64{i / 15, i / 5 % 3, i % 5}
					inside := p[axis] >= at && p[axis] < at+shape[axis]
					if Equal(elem(dst, p), New(d)) == inside {
						t.Errorf("%s: element %v is %s, pasted at %d along axis %d", d, p, elem(dst, p), at, axis)
					}
					if inside {
						set++
					}
				}
				if bits := int64(d.Bits()); bits >= 8 && written != set*bits/8 {
					t.Errorf("%s: %d bytes were written for %d elements", d, written, set)
				}
				head, err := dst.Prefix(axis, at+shape[axis])
				if err != nil {
					t.Fatal(err)
				}
				for i := range head.Len() {
					n := head.Shape()
					p := []int64{i / n[2] / n[1], i / n[2] % n[1], i % n[2]}
					if !Equal(elem(head, p), elem(dst, p)) {
						t.Errorf("%s: the first part has %s at %v", d, elem(head, p), p)
					}
				}
			}
		}
	}
	dst := New(F32, 2, 3)
	for _, src := range []*Tensor{New(F64, 2, 1), New(F32, 2), New(F32, 1, 1), New(F32, 2, 3)} {
		if _, err := Paste(dst, 1, 1, src); err == nil {
			t.Errorf("a %s tensor fits", src.DType())
		}
	}
	for _, n := range []int64{-1, 4} {
		if _, err := dst.Prefix(1, n); err == nil {
			t.Errorf("%d of 3 positions are there", n)
		}
	}
}
