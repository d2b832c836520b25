package emu

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// compileCUDA has clang make PTX of a file of testdata. It skips where there is no clang that can.
func compileCUDA(t *testing.T, file string, flags ...string) string {
	t.Helper()
	tool := ""
	for _, name := range []string{os.Getenv("PITOPT_CLANG"), "clang-19", "clang"} {
		if p, err := exec.LookPath(name); name != "" && err == nil {
			tool = p
			break
		}
	}
	if tool == "" {
		t.Skip("no clang: neither PITOPT_CLANG nor clang-19 nor clang is there (Debian: apt-get install clang-19)")
	}
	out := filepath.Join(t.TempDir(), "k.ptx")
	args := append([]string{"-x", "cuda", "--cuda-gpu-arch=sm_80", "--cuda-device-only", "-nocudainc", "-nocudalib", "-S",
		"--cuda-feature=+ptx78", "-Wno-unknown-cuda-version", "-o", out}, append(flags, "testdata/"+file)...)
	if msg, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		t.Skipf("%s does not compile %s for sm_80: %v\n%s", tool, file, err, msg[:min(len(msg), 1000)])
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func near(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	for i, w := range want {
		g := float64(got[i])
		if d := math.Abs(g - float64(w)); !(d <= tolerance*(1+math.Abs(float64(w)))) && !(math.IsNaN(g) && w != w) && got[i] != w {
			t.Errorf("%s: element %d is %v, not %v", what, i, got[i], w)
			return
		}
	}
}

func normals(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * 3)
	}
	return v
}

// TestClang runs what clang makes of CUDA C: an independent maker of PTX, on kernels whose results
// Go knows.
func TestClang(t *testing.T) {
	for _, level := range []string{"-O1", "-O3"} {
		text := compileCUDA(t, "kernels.cu", level, "-ffp-contract=off")
		for _, o := range []Options{{Races: true, Seed: 3}, {}} {
			b := load(t, o, text)
			r := rand.New(rand.NewPCG(7, 8))
			clangElementwise(t, b, r)
			clangMatmul(t, b, r)
			clangTotal(t, b, r)
			clangSoftmax(t, b, r)
			clangNonzero(t, b, r)
			clangIntegers(t, b, r)
			clangConversions(t, b, r)
			clangTensor(t, b, r)
		}
	}
}

func clangElementwise(t *testing.T, b *bench, r *rand.Rand) {
	const n = 77
	x := normals(r, 4*n)
	py := b.alloc(16 * n)
	b.run("elementwise", driver.Launch{Grid: driver.D(3), Block: driver.D(32), Params: []uint64{uint64(b.put(floats(x...))), uint64(py), n}})
	want := make([]float32, 4*n)
	for i := range n {
		v := x[4*i:]
		z := v[2] * v[3]
		want[4*i] = v[0] / (1 + float32(math.Exp2(float64(v[0]*-1.44269504))))
		want[4*i+1], want[4*i+2] = max(v[1], 0), z
		want[4*i+3] = float32(math.Abs(float64(v[3]))) - z
	}
	near(t, "elementwise", toFloats(b.get(py, 16*n)), want, 1e-6)
}

func clangMatmul(t *testing.T, b *bench, r *rand.Rand) {
	const m, n, k = 19, 35, 21
	x, y := normals(r, m*k), normals(r, k*n)
	pc := b.alloc(4 * m * n)
	b.run("matmul", driver.Launch{Grid: driver.D(3, 2), Block: driver.D(16, 16),
		Params: []uint64{uint64(b.put(floats(x...))), uint64(b.put(floats(y...))), uint64(pc), m, n, k}})
	want := make([]float32, m*n)
	for i := range want {
		for j := range k {
			want[i] += x[i/n*k+j] * y[j*n+i%n]
		}
	}
	near(t, "matmul", toFloats(b.get(pc, 4*m*n)), want, 0)
}

func clangTotal(t *testing.T, b *bench, r *rand.Rand) {
	const n = 1001
	x := make([]float32, n)
	sum := float32(0)
	for i := range x {
		x[i] = float32(r.IntN(100))
		sum += x[i]
	}
	py := b.put(floats(0))
	b.run("total", driver.Launch{Grid: driver.D(2), Block: driver.D(96), Params: []uint64{uint64(b.put(floats(x...))), uint64(py), n}})
	near(t, "total", toFloats(b.get(py, 4)), []float32{sum}, 0)
}

func clangSoftmax(t *testing.T, b *bench, r *rand.Rand) {
	const rows, n = 3, 205
	x := normals(r, rows*n)
	py := b.alloc(4 * rows * n)
	b.run("softmax", driver.Launch{Grid: driver.D(rows), Block: driver.D(64), Params: []uint64{uint64(b.put(floats(x...))), uint64(py), n}})
	want := make([]float32, rows*n)
	for i := range rows {
		row, sum := x[i*n:(i+1)*n], 0.0
		for _, v := range row {
			sum += math.Exp(float64(v - slices.Max(row)))
		}
		for j, v := range row {
			want[i*n+j] = float32(math.Exp(float64(v-slices.Max(row))) / sum)
		}
	}
	near(t, "softmax", toFloats(b.get(py, 4*rows*n)), want, 1e-6)
}

func clangNonzero(t *testing.T, b *bench, r *rand.Rand) {
	const n = 333
	x := make([]float32, n)
	var want []int
	for i := range x {
		if r.IntN(3) == 0 {
			x[i] = 1
			want = append(want, i)
		}
	}
	pout, pcount := b.alloc(4*n), b.put(make([]byte, 4))
	b.run("nonzero", driver.Launch{Grid: driver.D(6), Block: driver.D(64),
		Params: []uint64{uint64(b.put(floats(x...))), uint64(pout), uint64(pcount), n}})
	count := int(binary.LittleEndian.Uint32(b.get(pcount, 4)))
	data := b.get(pout, 4*n)
	var got []int
	for i := range min(count, n) {
		got = append(got, int(binary.LittleEndian.Uint32(data[4*i:])))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("nonzero: %v, not %v", got, want)
	}
}

func clangIntegers(t *testing.T, b *bench, r *rand.Rand) {
	const n = 500
	var data []byte
	want := make([]int64, n)
	for i := range n {
		v, w := int64(operandValues(r, 'd')), int64(operandValues(r, 'd'))|1
		if v == math.MinInt64 && w == -1 {
			v++ // C leaves it open
		}
		data = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(data, uint64(v)), uint64(w))
		u, d := uint32(v), uint32(w)
		x := v/w + v%w*3
		x ^= int64(u/d)<<7 ^ int64(u%d)
		x += int64(bits.OnesCount64(uint64(v))) + int64(bits.LeadingZeros32(d))*5 + int64(int32(int8(v))*int32(int16(w)))
		x ^= int64(bits.RotateLeft32(u, 7) ^ bits.ReverseBytes32(d))
		hi, _ := bits.Mul64(uint64(v), uint64(w))
		x -= int64(hi)
		switch u % 5 {
		case 0:
			x += 17
		case 1:
			x = -x
		case 2:
			for range d & 7 {
				x = x*3 + 1
			}
		case 3:
			if x < w {
				x ^= v
			} else {
				x ^= w
			}
		default:
			if x > 0 {
				x >>= 3
			} else {
				x <<= 3
			}
		}
		want[i] = x
	}
	py := b.alloc(8 * n)
	b.run("integers", driver.Launch{Grid: driver.D(8), Block: driver.D(64), Params: []uint64{uint64(b.put(data)), uint64(py), n}})
	out := b.get(py, 8*n)
	for i, w := range want {
		if g := int64(binary.LittleEndian.Uint64(out[8*i:])); g != w {
			t.Errorf("integers: %d of %#x, %#x: %#x, not %#x", i, data[16*i:16*i+8], data[16*i+8:16*i+16], g, w)
			return
		}
	}
}

func clangConversions(t *testing.T, b *bench, r *rand.Rand) {
	const n = 300
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * math.Pow(2, float64(r.IntN(20)-12)))
	}
	py := b.alloc(32 * n)
	b.run("conversions", driver.Launch{Grid: driver.D(5), Block: driver.D(64), Params: []uint64{uint64(b.put(floats(x...))), uint64(py), n}})
	var want []float32
	f16 := func(v float64) float64 { return float64(tensor.F16ToF32(tensor.F64ToF16(v))) }
	for _, v := range x {
		h := f16(float64(v))
		want = append(want, float32(h), float32(f16(f16(h*h)+1)), float32(int32(v)), float32(uint8(int32(v))), float32(float64(v)*float64(v)+1),
			float32(math.Floor(float64(v)))+float32(math.Trunc(float64(v*2))), tensor.BF16ToF32(tensor.F32ToBF16(v)),
			float32(math.Sqrt(math.Abs(float64(v)))))
	}
	near(t, "conversions", toFloats(b.get(py, 32*n)), want, 0)
}

func clangTensor(t *testing.T, b *bench, r *rand.Rand) {
	halves := func(n int) (v []float32, data []byte) {
		for range n {
			x := float32(r.IntN(65)-32) / 8
			v = append(v, x)
			data = binary.LittleEndian.AppendUint16(data, tensor.F32ToF16(x))
		}
		return
	}
	x, px := halves(16 * 16)
	y, py := halves(8 * 16)
	pc := b.alloc(4 * 16 * 8)
	b.run("tensor", driver.Launch{Grid: driver.D(1), Block: driver.D(32), Params: []uint64{uint64(b.put(px)), uint64(b.put(py)), uint64(pc)}})
	want := make([]float32, 16*8)
	for i := range want {
		for j := range 16 {
			want[i] += x[i/8*16+j] * y[i%8*16+j]
		}
	}
	near(t, "tensor", toFloats(b.get(pc, 4*16*8)), want, 0)
}
