package op

import (
	"math"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Within says whether all elements of all operands lie within bounds, one for each operand: |x| <= bound. NaN lies
// within none. Passes ask it of weights that they did not read: in each run it would be the same.
var Within = ir.Register(&ir.OpDef{
	Name: "pit.Within", Doc: "whether no element is larger than the bound of its operand, in absolute value",
	In: ops(variadic("X", "", floats)), Out: ops(in("Y", "", bools)),
	Attrs: attrs(attrReq("bounds", []float64(nil))),
	Deduce: func(c *call) error {
		if n := len(c.FloatList("bounds")); n != len(c.In) {
			return c.Errorf("%d bounds for %d operands", n, len(c.In)).Hint("there is one for each operand")
		}
		c.SetOut(0, tensor.Bool)
		return nil
	},
	Fill: func(k *ir.KernelCall, out []*tensor.Tensor) error {
		is := true
		for i, bound := range k.Call.FloatList("bounds") {
			ok, err := within(k, k.Arg(i), bound)
			if err != nil {
				return err
			}
			is = is && ok
		}
		out[0].SetBool(0, is)
		return nil
	},
})

// within goes over a tensor in parts, so that a run can be stopped.
func within(k *ir.KernelCall, t *tensor.Tensor, bound float64) (bool, error) {
	const part = 1 << 18
	for from := int64(0); from < t.Len(); from += part {
		if err := k.Context.Err(); err != nil {
			return false, diag.Stopped(err)
		}
		to := min(from+part, t.Len())
		switch d := t.DType(); d {
		case tensor.F32:
			if !within32(tensor.Data[float32](t)[from:to], bound) {
				return false, nil
			}
			continue
		case tensor.F16, tensor.BF16:
			if !within16(tensor.Data[uint16](t)[from:to], largest16(d, bound)) {
				return false, nil
			}
			continue
		}
		for i := from; i < to; i++ {
			if !(math.Abs(t.Float(i)) <= bound) {
				return false, nil
			}
		}
	}
	return true, nil
}

// within32 compares bits: without their sign those of floats are in the order of the absolute values, and those of
// NaN behind all others.
func within32(list []float32, bound float64) bool {
	if !(bound >= 0) {
		return len(list) == 0
	}
	most := float32(bound)
	if float64(most) > bound {
		most = math.Nextafter32(most, 0)
	}
	limit := math.Float32bits(most)
	const sign = 1 << 31
	var over [4]uint32 // a bit 31 where something is larger
	for ; len(list) >= 4; list = list[4:] {
		p := (*[4]float32)(list)
		over[0] |= limit - math.Float32bits(p[0])&^sign
		over[1] |= limit - math.Float32bits(p[1])&^sign
		over[2] |= limit - math.Float32bits(p[2])&^sign
		over[3] |= limit - math.Float32bits(p[3])&^sign
	}
	for _, v := range list {
		over[0] |= limit - math.Float32bits(v)&^sign
	}
	return (over[0]|over[1]|over[2]|over[3])&sign == 0
}

// largest16 is the largest number of 16 bits that is not above a bound; below 0 where there is none.
func largest16(d tensor.DType, bound float64) int {
	if !(bound >= 0) {
		return -1
	}
	bits, value := tensor.F64ToF16(bound), func(b uint16) float64 { return float64(tensor.F16ToF32(b)) }
	if d == tensor.BF16 {
		bits, value = tensor.F64ToBF16(bound), func(b uint16) float64 { return float64(tensor.BF16ToF32(b)) }
	}
	if value(bits) > bound {
		bits--
	}
	return int(bits)
}

// within16 compares bits, as within32 does.
func within16(list []uint16, most int) bool {
	for _, v := range list {
		if int(v&^(1<<15)) > most {
			return false
		}
	}
	return true
}
