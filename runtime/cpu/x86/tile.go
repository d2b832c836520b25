package x86

import (
	"fmt"
	"unsafe"
)

// Tile is the micro-kernel of a contraction in f32: C[Rows, Cols] = A[Rows, K] · B[K, Cols],
// or that added to what C holds. All of C stays in registers while k runs.
type Tile struct {
	Rows, Cols int

	// Pairs multiplies integers: C is of i32, and a number of A or B is two of i16 that follow each other
	// along the sum, the first one in the low half. Sums wrap.
	Pairs bool

	// Strided reads A's rows where they lie, [TileArgs.Stride] bytes apart, 4 bytes from k to k: the first of
	// them is A. Otherwise A is packed: K times Rows numbers.
	Strided bool

	// Stride is how many bytes rows lie apart where the code is to know. 0: as Strided says.
	Stride int

	// List finds row k of B at so many bytes behind B. Otherwise B is packed: K times
	// Cols numbers.
	List bool

	// Of is how many numbers packed B has for each k, of which the first Cols are multiplied. 0: Cols.
	Of int

	// Far is of a tile of one row with List whose rows of B come from memory: they are fetched into the second-level cache early, and
	// several times, as a processor that has much on its way drops what it is asked to fetch. Of what lies in a cache that takes longer.
	Far bool

	// Spread is of a tile with List whose columns lie in packed panels of two vectors each, and how many bytes these lie apart. 0: they lie
	// side by side.
	Spread int

	// Twin reads B in two packed panels of half the columns each, at once: two streams of memory that is far away.
	// An element is summed up as by a tile of a single panel.
	Twin bool

	// Panels multiplies several panels of rows by the same B, one behind the other.
	Panels bool

	// Weights is what B's numbers are; they are widened when they are read.
	Weights Weights

	// Fetch brings memory from an address on into the second-level cache, so many times [TileFetch] for each
	// k: what the calls that come next read. For B that is used by few tiles, that hides its way from
	// beyond.
	Fetch int
}

// Weights is a floating-point type of B in a [Tile].
type Weights uint8

const (
	WeightsF32 Weights = iota
	WeightsF16
	WeightsBF16
)

var weightNames = [...]string{WeightsF32: "", WeightsF16: "_f16", WeightsBF16: "_bf16"}

// Bytes is the size of a number.
func (w Weights) Bytes() int {
	if w == WeightsF32 {
		return 4
	}
	return 2
}

// TileArgs is the argument block of a [Tile]'s code. C is written in the first Count
// columns of its rows and nowhere else. The sums of one element are in the order of k, or of
// k modulo what the tile says for small tiles; so bits depend on the tile and K alone.
type TileArgs struct {
	K          int64
	A          unsafe.Pointer
	B          unsafe.Pointer
	List       unsafe.Pointer // K numbers of 32 bits, and TileAhead more, which may be anything
	C          unsafe.Pointer // Rows pointers
	COffset    int64          // bytes from each of them to the first column
	Count      int64          // columns, 1 to Cols
	Accumulate int64          // not 0: C is added to
	Panels     int64          // of rows, for tiles of several: at least 1
	Fetch      uintptr        // with Tile.Fetch: any address
	Apart      int64          // with Tile.Twin: bytes from one panel of B to the other
	Stride     int64          // with Tile.Strided: bytes from one row of A to the next
}

// tileUnroll is how many steps of k one turn of the loop takes.
const tileUnroll = 4

// TileAhead is how many rows of B a list is ahead of the multiplication, at most: the rows that will
// be read can not be foreseen otherwise.
const TileAhead = 16

// TileFetch is in how many bytes a tile with Fetch brings what it does for each k.
const TileFetch = lineBytes

// chains is how many sums must run beside each other so that none waits for the one
// before it: two units, four cycles.
const chains = 8

// vectors tells the kind of vectors and how many registers there are.
func vectors(f Features) (Kind, int) {
	if f&V4 != 0 {
		return ZMM, 32
	}
	return YMM, 16
}

// Check tells whether the tile fits the registers of a tier.
func (t Tile) Check(f Features) error {
	if f&V3 == 0 {
		return fmt.Errorf("x86: a tile needs %s, and code is made for %q", V3, f)
	}
	if t.Pairs && t.Weights != WeightsF32 {
		return fmt.Errorf("x86: a tile of pairs of integers has no weights of another type")
	}
	if k, _ := vectors(f); t.Twin && (t.List || 32*t.Cols/k.Bits()%2 != 0) {
		return fmt.Errorf("x86: a tile of two panels of B has whole vectors of each, and finds no rows of B by a list")
	}
	if t.Of != 0 && (t.Of < t.Cols || t.List || t.Twin) {
		return fmt.Errorf("x86: a tile of %d columns of a packed panel of %d: the panel has as many at least, and is one by itself", t.Cols, t.Of)
	}
	if t.Far && (!t.List || t.Rows > 1) {
		return fmt.Errorf("x86: a tile of one row that finds rows of B by a list may fetch them from afar")
	}
	if k, _ := vectors(f); t.Spread != 0 && (!t.List || 32*t.Cols/k.Bits()%2 != 0) {
		return fmt.Errorf("x86: a tile that finds rows of B in several panels has whole panels, and a list")
	}
	if t.Panels && t.List {
		return fmt.Errorf("x86: a tile of several panels of rows finds rows of B by a list")
	}
	k, n := vectors(f)
	if lanes := k.Bits() / 32; t.Rows < 1 || t.Cols < lanes || t.Cols%lanes != 0 {
		return fmt.Errorf("x86: a tile of %d rows and %d columns: there is at least one row, and columns are a multiple of %d", t.Rows, t.Cols, lanes)
	}
	if need := t.registers(f); need > n {
		return fmt.Errorf("x86: a tile of %d rows and %d columns needs %d registers, and there are %d", t.Rows, t.Cols, need, n)
	}
	return nil
}

// Fits says whether there are as many registers as the tile needs, of so many whole vectors.
func (t Tile) Fits(f Features) bool {
	_, n := vectors(f)
	return t.registers(f) <= n
}

// registers is how many the tile needs.
func (t Tile) registers(f Features) int {
	k, _ := vectors(f)
	nv := 32 * t.Cols / k.Bits()
	need := t.Rows*nv + nv + 1
	if t.Rows == 1 && t.Weights == WeightsF32 {
		need = nv + 1 // B is read by the multiplication itself
	} else if t.Rows == 1 {
		need = nv + 2
	}
	if t.Twin {
		need += (t.sets(nv) - 1) * t.Rows * nv // sums that other tiles always have room for
	}
	if t.Pairs && !dots(f) {
		need++ // a product on its way to the sum
	}
	return need
}

// sets is how many sums there are of each element, with so many vectors in a row.
func (t Tile) sets(nv int) int {
	sets := 1
	if t.Twin {
		nv /= 2
	}
	for sets < tileUnroll && sets*t.Rows*nv < chains {
		sets *= 2
	}
	return sets
}

// Single says whether an element has one sum, in the order of k: as it has with more columns, then.
func (t Tile) Single(f Features) bool {
	kind, _ := vectors(f)
	return t.sets(32*t.Cols/kind.Bits()) == 1
}

// Epilogue changes C before it is stored: a vector of each row, from a column on. Where
// mask is a register, only its columns are there, and nothing else may be read; in
// AVX-512 it is a mask register, in AVX2 a vector. What the code needs beside C it finds behind
// [TileArgs] in the argument block.
type Epilogue func(p *Prog, column int, mask Reg, rows []Reg)

// tile is a tile's program in the making.
type tile struct {
	Tile
	*Prog
	epilogue          Epilogue
	kind              Kind
	bytes             int     // of a vector
	nv                int     // vectors in a row
	dots              bool    // of pairs, by one instruction
	sums              [][]Reg // by set, then row and vector
	a, b, list, fetch Reg
	apart             Reg // Twin

	// Strided: a pointer to every fifth row of A, and one and three times what is between rows. What is behind it, at up to four
	// times, is what an address can say.
	fifths        []Reg
	stride, three Reg

	// Of several panels: those that are left, how far behind the first one C's rows are, and where rows of A begin.
	left, behindC, panelA Reg
	next                  Label
}

// Program makes the tile's code for a tier. The epilogue may be nil.
func (t Tile) Program(f Features, epilogue Epilogue) (*Prog, error) {
	if err := t.Check(f); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("tile_%dx%d", t.Rows, t.Cols)
	if t.Of != 0 {
		name += fmt.Sprint("_of", t.Of)
	}
	if t.Pairs {
		name += "_pairs"
	}
	if t.Strided {
		name += "_strided"
	}
	if t.Stride != 0 {
		name += fmt.Sprintf("_stride%d", t.Stride)
	}
	if t.List {
		name += "_list"
	}
	if t.Far {
		name += "_far"
	}
	if t.Spread != 0 {
		name += fmt.Sprintf("_spread%d", t.Spread)
	}
	if t.Twin {
		name += "_twin"
	}
	if t.Panels {
		name += "_panels"
	}
	name += weightNames[t.Weights]
	if t.Fetch > 0 {
		name += fmt.Sprint("_fetch", t.Fetch)
	}
	k := &tile{Tile: t, Prog: NewProg(name), epilogue: epilogue}
	k.kind, _ = vectors(f)
	k.bytes = k.kind.Bits() / 8
	k.nv = 4 * t.Cols / k.bytes
	k.dots = dots(f)
	k.emit()
	return k.Prog, nil
}

// arg is the memory of an argument.
func arg(offset uintptr) Mem { return At(ArgBase, int(offset)) }

// load reads an argument.
func (p *Prog) load(offset uintptr) Reg {
	r := p.New(GP64)
	p.Emit(MOV, r, arg(offset))
	return r
}

func (t *tile) emit() {
	var args TileArgs
	t.Comment("C[%d, %d] = A · B", t.Rows, t.Cols)
	t.a = t.load(unsafe.Offsetof(args.A))
	t.b = t.load(unsafe.Offsetof(args.B))
	if t.List {
		t.list = t.load(unsafe.Offsetof(args.List))
	}
	if t.Twin {
		t.apart = t.load(unsafe.Offsetof(args.Apart))
	}
	if t.Fetch > 0 {
		t.fetch = t.load(unsafe.Offsetof(args.Fetch))
	}
	if t.Strided {
		t.stride, t.three = t.load(unsafe.Offsetof(args.Stride)), t.New(GP64)
		t.Emit(LEA, t.three, AtIndex(t.stride, t.stride, 2, 0))
	}
	if t.Panels {
		t.left, t.behindC, t.panelA, t.next = t.load(unsafe.Offsetof(args.Panels)), t.New(GP64), t.New(GP64), t.Label("next")
		t.Emit(XOR, t.behindC, t.behindC)
		t.Emit(MOV, t.panelA, t.a)
		again := t.Label("panel")
		t.Bind(again)
		t.panel()
		t.Bind(t.next)
		t.Emit(ADD, t.behindC, Imm(8*t.Rows))
		switch {
		case t.Stride != 0:
			t.Emit(ADD, t.panelA, Imm(t.Rows*t.Stride))
			t.Emit(MOV, t.a, t.panelA)
		case t.Strided:
			t.Emit(MOV, t.a, t.panelA)
		}
		t.Emit(MOV, t.b, arg(unsafe.Offsetof(args.B)))
		t.Emit(DEC, t.left)
		t.Emit(JNE, again)
		t.Emit(RET)
		return
	}
	t.panel()
	t.Emit(RET)
}

// done ends a panel.
func (t *tile) done() {
	if t.Panels {
		t.Emit(JMP, t.next)
	} else {
		t.Emit(RET)
	}
}

// panel multiplies a panel of rows.
func (t *tile) panel() {
	var args TileArgs
	t.eachC(func(i int, row Mem) {
		for j := 0; j < 4*t.Cols; j += lineBytes {
			t.Emit(PREFETCHT0, row.Plus(j)).Note("C, row %d", i)
		}
	})
	sets := t.sets(t.nv)
	for range sets {
		sums := make([]Reg, t.Rows*t.nv)
		for i := range sums {
			sums[i] = t.New(t.kind)
			t.Emit(VXORPS, sums[i].As(XMM), sums[i].As(XMM), sums[i].As(XMM))
		}
		t.sums = append(t.sums, sums)
	}

	t.point()
	k := t.load(unsafe.Offsetof(args.K))
	loop, rest, last, done := t.Label("loop"), t.Label("rest"), t.Label("last"), t.Label("done")
	t.Emit(SUB, k, Imm(tileUnroll))
	t.Emit(JL, rest)
	t.Align(lineBytes)
	t.Bind(loop)
	for u := range tileUnroll {
		t.step(u, t.sums[u%sets])
	}
	t.advance(tileUnroll)
	t.Emit(SUB, k, Imm(tileUnroll))
	t.Emit(JGE, loop)
	t.Bind(rest)
	t.Emit(ADD, k, Imm(tileUnroll))
	t.Emit(JE, done)
	t.Bind(last)
	t.step(0, t.sums[0])
	t.advance(1)
	t.Emit(DEC, k)
	t.Emit(JNE, last)
	t.Bind(done)
	for n := sets / 2; n > 0; n /= 2 {
		for s := range n {
			for i, r := range t.sums[s] {
				t.Emit(t.add(), r, r, t.sums[s+n][i])
			}
		}
	}
	t.store()
}

// eachC calls f with the memory of every row of C.
func (t *tile) eachC(f func(i int, row Mem)) {
	var args TileArgs
	c, offset := t.load(unsafe.Offsetof(args.C)), t.load(unsafe.Offsetof(args.COffset))
	for i := range t.Rows {
		row := t.New(GP64)
		at := At(c, 8*i)
		if t.Panels {
			at = AtIndex(c, t.behindC, 1, 8*i)
		}
		t.Emit(MOV, row, at)
		f(i, AtIndex(row, offset, 1, 0))
	}
}

// point goes to the rows of a panel of A that lie apart, and finds where those of the next one begin.
func (t *tile) point() {
	if !t.Strided {
		return
	}
	t.fifths = []Reg{t.a}
	for i := 5; i < t.Rows; i += 5 {
		p, before := t.New(GP64), t.fifths[len(t.fifths)-1]
		t.Emit(LEA, p, AtIndex(before, t.stride, 4, 0))
		t.Emit(ADD, p, t.stride)
		t.fifths = append(t.fifths, p)
	}
	if t.Panels {
		t.Emit(LEA, t.panelA, t.element(t.Rows-1, 0))
		t.Emit(ADD, t.panelA, t.stride)
	}
}

// element is A's element of a row, u steps on.
func (t *tile) element(i, u int) Mem {
	if t.Strided {
		switch at, behind := t.fifths[i/5], i%5; behind {
		case 0:
			return At(at, 4*u)
		case 3:
			return AtIndex(at, t.three, 1, 4*u)
		default:
			return AtIndex(at, t.stride, behind, 4*u)
		}
	}
	if t.Stride != 0 {
		return At(t.a, i*t.Stride+4*u)
	}
	return At(t.a, 4*(u*t.Rows+i))
}

// width is how many bytes of a panel of B there are for each k.
func (t *tile) width() int {
	switch {
	case t.Twin:
		return t.Weights.Bytes() * t.Cols / 2
	case t.Of != 0:
		return t.Weights.Bytes() * t.Of
	}
	return t.Weights.Bytes() * t.Cols
}

// step is one k, u steps behind where the pointers are.
func (t *tile) step(u int, sums []Reg) {
	width := t.width()
	row := At(t.b, width*u)
	named := func(u int) Mem {
		at := t.New(GP64)
		t.Emit(MOVSXD, at, At(t.list, 4*u))
		return AtIndex(t.b, at, 1, 0)
	}
	if t.List {
		row = named(u)
	}
	fetch := func(int) {} // beside a vector of the row
	if t.List {
		op, times := PREFETCHT0, 1
		if t.Far {
			op, times = PREFETCHT1, farTimes
		}
		var rows []Mem
		for i := range times {
			rows = append(rows, named(u+t.ahead(width)*(times-i)/times))
		}
		fetch = func(j int) {
			if at := t.column(j); at%lineBytes == 0 {
				for _, r := range rows {
					t.Emit(op, r.Plus(at))
				}
			}
		}
	}
	for j := 0; j < t.nv && !t.Far; j++ {
		fetch(j)
	}
	for i := range t.Fetch {
		t.Emit(PREFETCHT1, At(t.fetch, (u*t.Fetch+i)*TileFetch))
	}
	part := func(j int) Mem {
		if one := t.nv / 2; t.Twin && j >= one {
			return AtIndex(t.b, t.apart, 1, width*u+t.column(j-one))
		}
		return row.Plus(t.column(j))
	}
	var b []Reg
	for j := 0; j < t.nv && t.Rows > 1; j++ {
		b = append(b, t.weights(part(j)))
	}
	for i := range t.Rows {
		// The multiplication could repeat the element itself, which saves an instruction, but loads it once for each
		// vector of the row; and it is loads that there are most of.
		a := t.New(t.kind)
		t.Emit(VBROADCASTSS, a, t.element(i, u))
		for j := range t.nv {
			if t.Far {
				fetch(j)
			}
			switch {
			case t.Rows > 1:
				t.multiply(sums[i*t.nv+j], a, b[j])
			case t.Weights == WeightsF32:
				t.multiply(sums[j], a, part(j))
			default:
				t.multiply(sums[j], a, t.weights(part(j)))
			}
		}
	}
}

// column is how many bytes behind the first column of a row of B, or of its second panel, vector j lies.
func (t *tile) column(j int) int {
	one := t.Weights.Bytes() * t.Cols / t.nv
	if t.Spread == 0 {
		return j * one
	}
	return j/2*t.Spread + j%2*one
}

// ahead is how many rows of B of so many bytes a list is looked at before they are multiplied: more of it than the processor
// can have on its way at once holds up what it waits for.
func (t *tile) ahead(width int) int {
	bytes := aheadBytes
	if t.Far {
		bytes = farBytes
	}
	return min(max(bytes/width, 4), TileAhead)
}

const (
	aheadBytes = 4096      // of B are on their way
	farBytes   = 12 * 1024 // of it where it comes from afar
	farTimes   = 3         // that it is asked for
)

// dots says whether there is an instruction that adds products of pairs to a sum.
func dots(f Features) bool { return f&V4 != 0 && f&VNNI != 0 || f&V4 == 0 && f&AVXVNNI != 0 }

// multiply adds a product to a sum.
func (t *tile) multiply(sum, a Reg, b Operand) {
	switch {
	case !t.Pairs:
		t.Emit(VFMADD231PS, sum, a, b)
	case t.dots:
		t.Emit(VPDPWSSD, sum, a, b)
	default:
		x := t.New(t.kind)
		t.Emit(VPMADDWD, x, a, b)
		t.Emit(VPADDD, sum, sum, x)
	}
}

// add is the sum of vectors of C.
func (t *tile) add() *Op {
	if t.Pairs {
		return VPADDD
	}
	return VADDPS
}

// weights is a vector of B.
func (t *tile) weights(m Mem) Reg {
	r := t.New(t.kind)
	switch t.Weights {
	case WeightsF32:
		t.Emit(VMOVUPS, r, m)
	case WeightsF16:
		t.Emit(VCVTPH2PS, r, m)
	case WeightsBF16: // the high half of an f32
		t.Emit(VPMOVZXWD, r, m)
		t.Emit(VPSLLD, r, r, Imm(16))
	}
	return r
}

// advance moves pointers by n steps.
func (t *tile) advance(n int) {
	switch {
	case t.Strided:
		for _, p := range t.fifths {
			t.Emit(ADD, p, Imm(4*n))
		}
	case t.Stride != 0:
		t.Emit(ADD, t.a, Imm(4*n))
	default:
		t.Emit(ADD, t.a, Imm(4*n*t.Rows))
	}
	if t.Fetch > 0 {
		t.Emit(ADD, t.fetch, Imm(TileFetch*t.Fetch*n))
	}
	if t.List {
		t.Emit(ADD, t.list, Imm(4*n))
	} else {
		t.Emit(ADD, t.b, Imm(n*t.width()))
	}
}

// store writes C: whole rows, or the columns that there are.
func (t *tile) store() {
	var args TileArgs
	count, accumulate := t.load(unsafe.Offsetof(args.Count)), t.load(unsafe.Offsetof(args.Accumulate))
	sums := t.sums[0]
	ragged, plain, raggedPlain := t.Label("ragged"), t.Label("plain"), t.Label("ragged_plain")
	t.Emit(CMP, count, Imm(t.Cols))
	t.Emit(JNE, ragged)
	t.Emit(TEST, accumulate, accumulate)
	t.Emit(JE, plain)
	t.eachC(func(i int, row Mem) {
		for j := range t.nv {
			t.Emit(t.add(), sums[i*t.nv+j], sums[i*t.nv+j], row.Plus(j*t.bytes))
		}
	})
	t.Bind(plain)
	for j := range t.nv {
		t.finish(j, NoReg)
	}
	t.eachC(func(i int, row Mem) {
		for j := range t.nv {
			t.Emit(VMOVUPS, row.Plus(j*t.bytes), sums[i*t.nv+j])
		}
	})
	t.done()

	t.Bind(ragged)
	t.Emit(TEST, accumulate, accumulate)
	t.Emit(JE, raggedPlain)
	t.eachColumn(count, func(int, Reg) {}, func(i, j int, mask Reg, m Mem) {
		r := sums[i*t.nv+j]
		if t.kind == ZMM {
			t.Emit(t.add(), r.K(mask), r, m)
			return
		}
		c := t.New(t.kind)
		t.Emit(VMASKMOVPS, c, mask, m)
		t.Emit(t.add(), r, r, c)
	})
	t.Bind(raggedPlain)
	t.eachColumn(count, t.finish, func(i, j int, mask Reg, m Mem) {
		if r := sums[i*t.nv+j]; t.kind == ZMM {
			t.Emit(VMOVUPS, m.K(mask), r)
		} else {
			t.Emit(VMASKMOVPS, m, mask, r)
		}
	})
}

// finish runs the epilogue on a vector of each row.
func (t *tile) finish(j int, mask Reg) {
	if t.epilogue == nil {
		return
	}
	rows := make([]Reg, t.Rows)
	for i := range rows {
		rows[i] = t.sums[0][i*t.nv+j]
	}
	t.epilogue(t.Prog, j*t.bytes/4, mask, rows)
}

// eachColumn calls first with each vector of a row and which of its columns there are, and f with
// that and its memory in each row of C.
func (t *tile) eachColumn(count Reg, first func(j int, mask Reg), f func(i, j int, mask Reg, m Mem)) {
	lanes := t.bytes / 4
	zero := t.New(GP64)
	t.Emit(XOR, zero, zero)
	all := t.New(GP64)
	t.Emit(MOV, all, Imm(-1))
	for j := range t.nv {
		n := t.New(GP64)
		t.Emit(LEA, n, At(count, -j*lanes))
		t.Emit(TEST, n, n)
		t.Emit(CMOVL, n, zero)
		var mask Reg
		if t.kind == ZMM {
			t.Emit(BZHI, n, all, n)
			mask = t.New(Mask)
			t.Emit(KMOVW, mask, n.As(GP32))
		} else {
			mask = t.New(t.kind)
			t.Emit(VMOVD, mask.As(XMM), n.As(GP32))
			t.Emit(VPBROADCASTD, mask, mask.As(XMM))
			t.Emit(VPCMPGTD, mask, mask, t.U32(0, 1, 2, 3, 4, 5, 6, 7))
		}
		first(j, mask)
		t.eachC(func(i int, row Mem) { f(i, j, mask, row.Plus(j*t.bytes)) })
	}
}

// Compile allocates and assembles a program.
func Compile(p *Prog, f Features) (*Code, error) {
	q, err := Allocate(p, f)
	if err != nil {
		return nil, err
	}
	return Assemble(q, f)
}
