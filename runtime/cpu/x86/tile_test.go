package x86

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// tileSizes are tiles of a tier: the largest of each width, and smaller ones.
func tileSizes(f Features) [][2]int {
	if f&V4 == 0 {
		return [][2]int{{1, 8}, {1, 16}, {1, 64}, {2, 16}, {3, 24}, {4, 16}, {4, 24}, {5, 16}, {6, 16}, {10, 8}}
	}
	s := [][2]int{{1, 16}, {1, 64}, {1, 128}, {1, 256}, {2, 64}, {6, 64}, {9, 48}, {28, 16}}
	for rows := 1; rows <= 14; rows++ {
		s = append(s, [2]int{rows, 32})
	}
	return s
}

// compileTile makes a tile callable.
func compileTile(t testing.TB, tile Tile, f Features) (Func, *Code) {
	t.Helper()
	p, err := tile.Program(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Compile(p, f)
	if err != nil {
		t.Fatal(err)
	}
	return loadCode(t, c), c
}

// problem is operands of a tile, with nothing behind any of them.
type problem struct {
	args TileArgs
	a    []float32
	b    []float32
	rows [][]float32 // of C
	want [][]float64
	mag  [][]float64 // sums of the products' absolute values: what rounding is measured by
}

// panel is the columns of a packed panel of B where a tile reads several: two vectors.
func panel(f Features) int {
	kind, _ := vectors(f)
	return 2 * kind.Bits() / 32
}

const columnOffset = 3 // from the start of a row of C

func newProblem(t testing.TB, r *rand.Rand, tile Tile, f Features, k, count int, accumulate bool) *problem {
	p := &problem{args: TileArgs{K: int64(k), COffset: 4 * columnOffset, Count: int64(count)}}
	if accumulate {
		p.args.Accumulate = 1
	}
	draw := func(s []float32) []float32 {
		for i := range s {
			s[i] = float32(r.NormFloat64())
		}
		return s
	}
	all := tile.Rows
	if tile.Panels {
		all, p.args.Panels = 3*tile.Rows, 3
	}
	depth := k
	a := func(i, k int) float32 { return p.a[i/tile.Rows*tile.Rows*depth+k*tile.Rows+i%tile.Rows] }
	pointers := make([]unsafe.Pointer, all)
	switch {
	case tile.Stride != 0:
		p.a = draw(guarded(t, (all-1)*tile.Stride/4+k))
		p.args.A = unsafe.Pointer(unsafe.SliceData(p.a))
		a = func(i, k int) float32 { return p.a[i*tile.Stride/4+k] }
	case tile.Strided:
		stride := k + r.IntN(200)
		p.a = draw(guarded(t, (all-1)*stride+k))
		p.args.A, p.args.Stride = unsafe.Pointer(unsafe.SliceData(p.a)), int64(4*stride)
		a = func(i, k int) float32 { return p.a[i*stride+k] }
	default:
		p.a = draw(guarded(t, k*all))
		p.args.A = unsafe.Pointer(unsafe.SliceData(p.a))
	}
	list := make([]int32, k)
	for i := range list {
		list[i] = int32(i)
	}
	if tile.List {
		r.Shuffle(k, func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	elements, each := k*tile.Cols, tile.Cols // of B, and of a row of it
	at := func(k, j int) int { return k*tile.Cols + j }
	if spreadCols := panel(f); tile.Spread != 0 {
		elements, each = (tile.Cols/spreadCols-1)*tile.Spread/tile.Weights.Bytes()+k*spreadCols, spreadCols
		at = func(k, j int) int { return j/spreadCols*tile.Spread/tile.Weights.Bytes() + k*spreadCols + j%spreadCols }
	}
	p.b = draw(guarded(t, elements))
	p.args.B = unsafe.Pointer(unsafe.SliceData(p.b))
	if tile.Weights != WeightsF32 {
		words := guarded(t, elements/2) // two in each
		p.args.B = unsafe.Pointer(unsafe.SliceData(words))
		for i, h := range unsafe.Slice((*uint16)(p.args.B), elements) {
			// The high half of an f32 is a bfloat16. As an f16, these bits are some number or other.
			h = uint16(math.Float32bits(p.b[i]) >> 16)
			p.b[i] = math.Float32frombits(uint32(h) << 16)
			if tile.Weights == WeightsF16 {
				h = h&^0x7C00 | uint16(10+r.IntN(10))<<10
				p.b[i] = half(h)
			}
			unsafe.Slice((*uint16)(p.args.B), elements)[i] = h
		}
	}
	offsets := guarded(t, k+TileAhead)
	for i := range list {
		offsets[i] = math.Float32frombits(uint32(list[i]) * uint32(tile.Weights.Bytes()*each))
	}
	p.args.List = unsafe.Pointer(unsafe.SliceData(offsets))
	for i := range all {
		row := draw(guarded(t, columnOffset+count))
		p.rows = append(p.rows, row)
		pointers[i] = unsafe.Pointer(unsafe.SliceData(row))
		want, mag := make([]float64, columnOffset+count), make([]float64, columnOffset+count)
		for j := range want {
			want[j] = float64(row[j])
			if j < columnOffset {
				continue
			}
			if !accumulate {
				want[j] = 0
			}
			for k := range list {
				x := float64(a(i, k)) * float64(p.b[at(int(list[k]), j-columnOffset)])
				want[j] += x
				mag[j] += math.Abs(x)
			}
		}
		p.want, p.mag = append(p.want, want), append(p.mag, mag)
	}
	p.args.C = unsafe.Pointer(&pointers[0])
	p.args.Fetch = uintptr(p.args.B) + uintptr(elements*tile.Weights.Bytes()) // behind what may be touched
	return p
}

// half is the value of a normal f16.
func half(h uint16) float32 {
	x := math.Ldexp(float64(h&0x3FF|0x400), int(h>>10&31)-25)
	if h>>15 != 0 {
		x = -x
	}
	return float32(x)
}

// check compares C with a sum in f64.
func (p *problem) check() error {
	for i, row := range p.rows {
		for j, x := range row {
			d := math.Abs(float64(x) - p.want[i][j])
			if tol := (p.mag[i][j] + math.Abs(p.want[i][j])) * 1e-6; !(d <= tol) {
				return fmt.Errorf("C[%d, %d] is %g, want %g", i, j-columnOffset, x, p.want[i][j])
			}
		}
	}
	return nil
}

// TestTiles holds every tile on every tier against a plain sum: all lengths around the turns of
// the loop, ragged columns, added and not, with pages behind every operand that can
// not be touched.
func TestTiles(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := rand.New(rand.NewPCG(5, 6))
	for _, f := range tiers {
		if f&^here() != 0 {
			t.Logf("code for %s can not run here: its tiles are not tested", f)
			continue
		}
		for _, size := range tileSizes(f) {
			for form := range 12 {
				tile := Tile{Rows: size[0], Cols: size[1], Strided: form&1 != 0, List: form&2 != 0, Weights: Weights(form / 4), Fetch: form % 3}
				if testing.Short() && form > 0 && form%5 != 0 {
					continue
				}
				// A test of its own each, which gives back guarded memory when it ends.
				t.Run(fmt.Sprintf("%s/%+v", f, tile), func(t *testing.T) { checkTile(t, r, tile, f) })
			}
			for form := range 9 {
				spread, weights := form >= 3, Weights(form%3)
				tile := Tile{Rows: size[0], Cols: size[1], List: true, Weights: weights, Far: size[0] == 1 && form%2 == 0}
				if cols := panel(f); spread && tile.Cols%cols == 0 {
					tile.Spread = 130 * weights.Bytes() * cols
				}
				if tile.Far || tile.Spread != 0 {
					t.Run(fmt.Sprintf("%s/%+v", f, tile), func(t *testing.T) { checkTile(t, r, tile, f) })
				}
			}
			for form := range 5 {
				tile := Tile{Rows: size[0], Cols: size[1], Stride: 4 * (150 + form), Panels: form&1 != 0, List: form == 2}
				switch form {
				case 1:
					tile.Stride = 0
				case 4:
					tile.Stride, tile.Strided, tile.Panels, tile.Fetch = 0, true, true, 2
				}
				t.Run(fmt.Sprintf("%s/%+v", f, tile), func(t *testing.T) { checkTile(t, r, tile, f) })
			}
		}
	}
}

func checkTile(t *testing.T, r *rand.Rand, tile Tile, f Features) {
	fn, code := compileTile(t, tile, f)
	if code.Scratch > 0 && !(tile.Strided && tile.Rows > 20) {
		t.Errorf("%s spills %d bytes", code.Name, code.Scratch)
	}
	for _, k := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 130} {
		if testing.Short() && k > 9 {
			continue
		}
		count := tile.Cols
		if k%2 == 1 {
			count = 1 + r.IntN(tile.Cols)
		}
		p := newProblem(t, r, tile, f, k, count, r.IntN(2) == 0)
		fn.Call(unsafe.Pointer(&p.args))
		if err := p.check(); err != nil {
			t.Errorf("%s, k=%d, %d columns, accumulate=%d: %v", code.Name, k, count, p.args.Accumulate, err)
		}
	}
}

// TestTileColumns: a ragged tile stores each number of columns.
func TestTileColumns(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := rand.New(rand.NewPCG(7, 8))
	for _, f := range tiers {
		if f&^here() != 0 {
			continue // TestTiles says so
		}
		tile := Tile{Rows: 3, Cols: 3 * map[bool]int{true: 16, false: 8}[f&V4 != 0]}
		fn, _ := compileTile(t, tile, f)
		for count := 1; count <= tile.Cols; count++ {
			for _, accumulate := range []bool{false, true} {
				p := newProblem(t, r, tile, f, 5, count, accumulate)
				fn.Call(unsafe.Pointer(&p.args))
				if err := p.check(); err != nil {
					t.Errorf("%s, %d columns, accumulate=%v: %v", f, count, accumulate, err)
				}
			}
		}
	}
}

// TestTileEpilogue: relu(C + bias) * scale, with the bias read where columns are and nowhere else.
func TestTileEpilogue(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	type block struct {
		TileArgs
		bias  unsafe.Pointer
		scale float32
	}
	var args block
	epilogue := func(p *Prog, column int, mask Reg, rows []Reg) {
		kind := rows[0].Kind()
		at, bias, zero, scale := p.New(GP64), p.New(kind), p.New(kind), p.New(kind)
		p.Emit(MOV, at, arg(unsafe.Offsetof(args.bias)))
		switch m := At(at, 4*column); {
		case mask == NoReg:
			p.Emit(VMOVUPS, bias, m)
		case kind == ZMM:
			p.Emit(VMOVUPS, bias.Z(mask), m)
		default:
			p.Emit(VMASKMOVPS, bias, mask, m)
		}
		p.Emit(VXORPS, zero, zero, zero)
		p.Emit(VBROADCASTSS, scale, arg(unsafe.Offsetof(args.scale)))
		for _, r := range rows {
			p.Emit(VADDPS, r, r, bias)
			p.Emit(VMAXPS, r, zero, r)
			p.Emit(VMULPS, r, r, scale)
		}
	}
	r := rand.New(rand.NewPCG(19, 20))
	for _, f := range tiers {
		if f&^here() != 0 {
			continue // TestTiles says so
		}
		tile := Tile{Rows: 14, Cols: 32}
		if f&V4 == 0 {
			tile = Tile{Rows: 6, Cols: 16}
		}
		p, err := tile.Program(f, epilogue)
		if err != nil {
			t.Fatal(err)
		}
		code, err := Compile(p, f)
		if err != nil {
			t.Fatal(err)
		}
		fn := loadCode(t, code)
		for count := 1; count <= tile.Cols; count++ {
			p := newProblem(t, r, tile, f, 9, count, count%2 == 0)
			bias := guarded(t, count)
			for j := range bias {
				bias[j] = float32(r.NormFloat64())
				for i := range p.want {
					w := &p.want[i][columnOffset+j]
					*w = max(*w+float64(bias[j]), 0) * 0.25
				}
			}
			args := block{p.args, unsafe.Pointer(&bias[0]), 0.25}
			fn.Call(unsafe.Pointer(&args))
			if err := p.check(); err != nil {
				t.Errorf("%s, %d columns: %v", f, count, err)
			}
		}
	}
}

// TestTileSpecials: NaN, infinities, denormals and zeros come out as a plain loop has them, and
// those of columns that there are not reach no others.
func TestTileSpecials(t *testing.T) {
	inf := float32(math.Inf(1))
	specials := []float32{float32(math.NaN()), inf, -inf, 1e-45, -1e-45, 0, float32(math.Copysign(0, -1)), 1, math.MaxFloat32}
	r := rand.New(rand.NewPCG(15, 16))
	for _, f := range tiers {
		if f&^here() != 0 {
			continue // TestTiles says so
		}
		tile := Tile{Rows: 6, Cols: map[bool]int{true: 32, false: 16}[f&V4 != 0]} // one sum for an element
		fn, _ := compileTile(t, tile, f)
		for range 200 {
			const k = 2
			p := newProblem(t, r, tile, f, k, 1+r.IntN(tile.Cols), false)
			for _, s := range [][]float32{p.a, p.b} {
				for i := range s {
					s[i] = specials[r.IntN(len(specials))]
				}
			}
			fn.Call(unsafe.Pointer(&p.args))
			for i, row := range p.rows {
				for j, got := range row[columnOffset:] {
					// Exact in f64, but for what f32 can not say: that becomes infinite there too.
					var want float32
					for x := range k {
						want = float32(math.FMA(float64(p.a[x*tile.Rows+i]), float64(p.b[x*tile.Cols+j]), float64(want)))
					}
					if got != want && !(got != got && want != want) || math.Signbit(float64(got)) != math.Signbit(float64(want)) && got == got {
						t.Fatalf("%s: C[%d, %d] is %g, want %g", f, i, j, got, want)
					}
				}
			}
		}
	}
}

// TestTileListing: the listing of a tile assembles to its bytes.
func TestTileListing(t *testing.T) {
	binutils(t)
	for _, f := range tiers {
		for _, tile := range []Tile{{Rows: 6, Cols: 16}, {Rows: 4, Cols: 16, Strided: true, List: true}} {
			p, err := tile.Program(f, nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Compile(p, f)
			if err != nil {
				t.Fatal(err)
			}
			if got := assemble(t, c.Listing()); string(got) != string(c.Bytes) {
				t.Errorf("%s: as makes other bytes of\n%s", f, c.Listing())
			}
		}
	}
}

// TestTileErrors: tiles that do not fit are refused.
func TestTileErrors(t *testing.T) {
	for _, c := range []struct {
		tile Tile
		f    Features
		want string
	}{
		{Tile{Rows: 15, Cols: 32}, V3 | V4, "needs 33 registers, and there are 32"},
		{Tile{Rows: 7, Cols: 16}, V3, "needs 17 registers, and there are 16"},
		{Tile{Rows: 1, Cols: 24}, V3 | V4, "columns are a multiple of 16"},
		{Tile{Rows: 0, Cols: 16}, V3 | V4, "at least one row"},
		{Tile{Rows: 1, Cols: 16}, 0, `a tile needs v3, and code is made for ""`},
	} {
		if _, err := c.tile.Program(c.f, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.tile, err, c.want)
		}
	}
}

// peak is a loop of multiplications and additions on registers alone.
func peak(f Features) *Prog {
	p := NewProg("peak")
	kind, n := vectors(f)
	x := p.New(kind)
	var sums []Reg
	p.Emit(VXORPS, x.As(XMM), x.As(XMM), x.As(XMM))
	for range n - 4 {
		s := p.New(kind)
		sums = append(sums, s)
		p.Emit(VXORPS, s.As(XMM), s.As(XMM), s.As(XMM))
	}
	k, loop := p.New(GP64), p.Label("loop")
	p.Emit(MOV, k, At(ArgBase, 0))
	p.Align(lineBytes)
	p.Bind(loop)
	for _, s := range sums {
		p.Emit(VFMADD231PS, s, x, x)
	}
	p.Emit(DEC, k)
	p.Emit(JNE, loop)
	p.Emit(RET)
	return p
}

// peakFlops measures what the processor can do: the best of some rounds.
func peakFlops(b testing.TB, f Features) float64 {
	c, err := Compile(peak(f), f)
	if err != nil {
		b.Fatal(err)
	}
	fn := loadCode(b, c)
	kind, n := vectors(f)
	args := [1]int64{20000}
	best := 0.0
	for range 20 {
		start := time.Now()
		fn.Call(unsafe.Pointer(&args))
		flops := float64(args[0]) * float64(n-4) * float64(kind.Bits()/32) * 2
		best = max(best, flops/time.Since(start).Seconds())
	}
	return best
}

// BenchmarkTiles runs tiles as a product would: one panel of A after the other against a
// panel of B, K=384, which lies in L2. It prints the GFLOP/s of the fastest round, since a
// machine is rarely alone, and its share of the peak, measured just before and after in the same way.
func BenchmarkTiles(b *testing.B) {
	const k, panels = 384, 8
	for _, f := range tiers {
		if f&^here() != 0 {
			b.Logf("code for %s can not run here", f)
			continue
		}
		sizes := [][2]int{{1, 128}, {4, 32}, {8, 32}, {13, 32}, {14, 32}, {9, 48}, {6, 64}}
		if f&V4 == 0 {
			sizes = [][2]int{{1, 64}, {4, 16}, {6, 16}, {4, 24}}
		}
		for _, size := range sizes {
			tile := Tile{Rows: size[0], Cols: size[1]}
			b.Run(fmt.Sprintf("%s/%dx%d", strings.ReplaceAll(f.String(), " ", "+"), size[0], size[1]), func(b *testing.B) {
				fn, _ := compileTile(b, tile, f)
				a, bb := alignedFloats(panels*k*tile.Rows), alignedFloats(k*tile.Cols)
				c := alignedFloats(panels * tile.Rows * tile.Cols)
				pointers := make([]unsafe.Pointer, panels*tile.Rows)
				for i := range pointers {
					pointers[i] = unsafe.Pointer(&c[i*tile.Cols])
				}
				args := TileArgs{K: k, B: unsafe.Pointer(&bb[0]), Count: int64(tile.Cols)}
				best := peakFlops(b, f)
				fastest := math.Inf(1)
				for b.Loop() {
					start := time.Now()
					for p := range panels {
						args.A = unsafe.Pointer(&a[p*k*tile.Rows])
						args.C = unsafe.Pointer(&pointers[p*tile.Rows])
						fn.Call(unsafe.Pointer(&args))
					}
					fastest = min(fastest, time.Since(start).Seconds())
				}
				best = max(best, peakFlops(b, f))
				flops := 2 * float64(panels*k*tile.Rows*tile.Cols)
				b.ReportMetric(flops/fastest/1e9, "GFLOP/s")
				b.ReportMetric(best/1e9, "GFLOP/s-peak")
				b.ReportMetric(100*flops/fastest/best, "%-of-peak")
			})
		}
	}
}

// here is what code can run here, whatever PITOPT_CPU says.
func here() Features {
	if !callable {
		return 0
	}
	return Processor()
}

// BenchmarkCompile is the time from a tile to its bytes.
func BenchmarkCompile(b *testing.B) {
	n := 0
	for b.Loop() {
		p, err := Tile{Rows: 14, Cols: 32}.Program(V3|V4, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Compile(p, V3|V4); err != nil {
			b.Fatal(err)
		}
		n = len(p.Insts)
	}
	b.ReportMetric(float64(n), "instructions")
}

// BenchmarkTileList runs tiles over rows of B that a list draws from many: one in eight of
// 3072 rows, of panels of several MB, another list in every call.
func BenchmarkTileList(b *testing.B) {
	const all, k = 3072, 384
	r := rand.New(rand.NewPCG(13, 14))
	for _, f := range tiers {
		if f&^here() != 0 {
			b.Logf("code for %s can not run here", f)
			continue
		}
		sizes := [][2]int{{1, 128}, {1, 256}, {8, 32}}
		if f&V4 == 0 {
			sizes = [][2]int{{1, 64}, {6, 16}}
		}
		for _, size := range sizes {
			tile := Tile{Rows: size[0], Cols: size[1], List: true}
			b.Run(fmt.Sprintf("%s/%dx%d", strings.ReplaceAll(f.String(), " ", "+"), size[0], size[1]), func(b *testing.B) {
				fn, _ := compileTile(b, tile, f)
				panels := 768 / tile.Cols
				a, bb, c := alignedFloats(k*tile.Rows), alignedFloats(panels*all*tile.Cols), alignedFloats(tile.Rows*tile.Cols)
				lists := make([][]int32, 32)
				for i := range lists {
					for x := range all {
						if r.IntN(all/k) == 0 && len(lists[i]) < k {
							lists[i] = append(lists[i], int32(4*tile.Cols*x))
						}
					}
					lists[i] = append(lists[i], make([]int32, k+TileAhead-len(lists[i]))...)
				}
				cs := pointers(c, tile.Rows, tile.Cols)
				args := TileArgs{K: k, A: unsafe.Pointer(&a[0]), C: unsafe.Pointer(&cs[0]), Count: int64(tile.Cols)}
				fastest, n := math.Inf(1), 0
				for b.Loop() {
					start := time.Now()
					args.List = unsafe.Pointer(&lists[n%len(lists)][0])
					n++
					for p := range panels {
						args.B = unsafe.Pointer(&bb[p*all*tile.Cols])
						fn.Call(unsafe.Pointer(&args))
					}
					fastest = min(fastest, time.Since(start).Seconds())
				}
				b.ReportMetric(2*float64(panels*k*tile.Rows*tile.Cols)/fastest/1e9, "GFLOP/s")
				b.ReportMetric(4*float64(panels*k*tile.Cols)/fastest/1e9, "GB/s")
			})
		}
	}
}

// BenchmarkWeights is one row times 768 x 3072 weights of each type, which do not fit L2: what
// counts is how many bytes are read.
func BenchmarkWeights(b *testing.B) {
	const k, n = 768, 3072
	for _, f := range tiers {
		if f&^here() != 0 {
			b.Logf("code for %s can not run here", f)
			continue
		}
		kind, _ := vectors(f)
		for w := range Weights(len(weightNames)) {
			tile := Tile{Rows: 1, Cols: kind.Bits() / 4, Weights: w}
			fn, code := compileTile(b, tile, f)
			b.Run(fmt.Sprintf("%s/%s", strings.ReplaceAll(f.String(), " ", "+"), code.Name), func(b *testing.B) {
				a, bb, c := alignedFloats(k), alignedFloats(k*n*w.Bytes()/4), alignedFloats(n)
				cs := pointers(c, 1, n)
				args := TileArgs{K: k, A: unsafe.Pointer(&a[0]), C: unsafe.Pointer(&cs[0]), Count: int64(tile.Cols)}
				fastest := math.Inf(1)
				for b.Loop() {
					start := time.Now()
					for j := 0; j < n; j += tile.Cols {
						args.B = unsafe.Pointer(&bb[k*j*w.Bytes()/4])
						args.COffset = int64(4 * j)
						fn.Call(unsafe.Pointer(&args))
					}
					fastest = min(fastest, time.Since(start).Seconds())
				}
				b.ReportMetric(1e6*fastest, "µs")
				b.ReportMetric(float64(k*n*w.Bytes())/fastest/1e9, "GB/s")
			})
		}
	}
}
