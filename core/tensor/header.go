package tensor

import "fmt"

// Own makes t, which is nobody else's, a tensor over memory, as FromBytes makes one. What t was
// before is gone; a run that does this again takes no memory for it.
func (t *Tensor) Own(d DType, shape []int64, b []byte) error {
	n, b, err := over(d, shape, b)
	if err == nil {
		*t = Tensor{dtype: d, shape: append(t.shape[:0], shape...), len: n, data: b}
	}
	return err
}

// OwnView makes t, which is nobody else's, what x.View(shape...) is.
func (t *Tensor) OwnView(x *Tensor, shape []int64) error {
	if n, ok := Count(shape); !ok || n != x.len {
		return fmt.Errorf("%d elements do not fill shape %v", x.len, shape)
	}
	*t = Tensor{dtype: x.dtype, shape: append(t.shape[:0], shape...), len: x.len, data: x.data, strs: x.strs}
	return nil
}

// Disown forgets the memory that t is over. t is no tensor until it owns some again.
func (t *Tensor) Disown() { *t = Tensor{shape: t.shape[:0]} }
