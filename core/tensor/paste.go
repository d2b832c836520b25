package tensor

import (
	"fmt"
	"slices"
)

// Paste writes src into dst at a position along axis: element (i, .., p, .., j) of src
// becomes (i, .., at+p, .., j) of dst. All other dims must be equal. It gives the number of
// bytes that were written; of strings, 16 for each.
func Paste(dst *Tensor, axis int, at int64, src *Tensor) (written int64, err error) {
	fits := dst.dtype == src.dtype && len(dst.shape) == len(src.shape) && axis >= 0 && axis < len(dst.shape)
	for i := range dst.shape {
		if fits && i == axis {
			fits = at >= 0 && src.shape[i] <= dst.shape[i]-at
		} else if fits {
			fits = src.shape[i] == dst.shape[i]
		}
	}
	if !fits {
		return 0, fmt.Errorf("%s%v does not fit %s%v at %d along axis %d", src.dtype, src.shape, dst.dtype, dst.shape, at, axis)
	}
	return paste(dst, axis, at, src, src.shape[axis]), nil
}

// Prefix copies the first n positions along axis.
func (t *Tensor) Prefix(axis int, n int64) (*Tensor, error) {
	if axis < 0 || axis >= len(t.shape) || n < 0 || n > t.shape[axis] {
		return nil, fmt.Errorf("%s%v has no %d positions along axis %d", t.dtype, t.shape, n, axis)
	}
	shape := slices.Clone(t.shape)
	shape[axis] = n
	out, err := Make(t.dtype, shape)
	if err != nil {
		return nil, err
	}
	paste(out, axis, 0, t, n)
	return out, nil
}

// paste copies the first count positions of src along axis to those of dst from at on.
func paste(dst *Tensor, axis int, at int64, src *Tensor, count int64) (written int64) {
	outer, inner := int64(1), int64(1)
	for i, d := range dst.shape {
		if i < axis {
			outer *= d
		} else if i > axis {
			inner *= d
		}
	}
	n := count * inner
	for i := range outer {
		from, to := i*src.shape[axis]*inner, (i*dst.shape[axis]+at)*inner
		switch {
		case dst.dtype == String:
			written += 16 * int64(copy(dst.strs[to:to+n], src.strs[from:from+n]))
		case dst.dtype.IsSmall(): // rows do not begin at bytes
			for e := range n {
				CopyElem(dst, to+e, src, from+e)
			}
			written += (n*int64(dst.dtype.Bits()) + 7) / 8
		default:
			size := int64(dst.dtype.Bits() / 8)
			written += int64(copy(dst.data[to*size:(to+n)*size], src.data[from*size:(from+n)*size]))
		}
	}
	return written
}
