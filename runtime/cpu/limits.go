package cpu

import (
	"sync"
	"time"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// Limits are what a machine can do at most, with the threads of a device.
type Limits struct {
	Flops     float64 // operations on f32 a second: a product with its sum counts as two
	Bandwidth float64 // bytes read a second
}

// Limits measures them for about so long. Arithmetic is multiply-adds on registers that depend on
// none that is on its way; bandwidth is that of reading so many bytes, one after the other and again and
// again: what does not fit a cache comes from memory. Where there is no machine code, both are those
// of portable Go.
func (d *Device) Limits(took time.Duration, bytes int) (Limits, error) {
	var out Limits
	code := d.machine.enter()
	if code {
		defer d.machine.leave()
	}
	share := max(bytes/d.threads, 1<<20) &^ 63
	data := make([]float32, d.threads*share/4)
	for i := range data {
		data[i] = 1
	}
	peak, read := &limit{most: 1 << 16}, &limit{most: 1 << 17}
	peak.do = func(int, int) { plainFlops(peak.most) }
	peak.count = 16 * float64(peak.most)
	read.do = func(thread, i int) {
		part := data[thread*share/4:][:share/4]
		at := i * read.most % len(part)
		plainRead(part[at:min(at+read.most, len(part))])
	}
	read.count = 4 * float64(read.most)
	if code {
		multiply, err := d.machine.code(flopsLoop{})
		if err != nil {
			return out, err
		}
		load, err := d.machine.code(readLoop{})
		if err != nil {
			return out, err
		}
		lanes := panelCols(d.machine.features) / 2
		peak.count = 2 * float64(peak.most/4*chainsOf(d.machine.features)*lanes)
		peak.do = func(int, int) {
			args := limitArgs{N: int64(peak.most / 4)}
			multiply.Call(unsafe.Pointer(&args))
		}
		read.do = func(thread, i int) {
			part := data[thread*share/4:][:share/4]
			at := i * read.most % (len(part) - len(part)%read.most)
			args := limitArgs{N: int64(read.most / (readAtOnce / 4)), From: unsafe.Pointer(&part[at])}
			load.Call(unsafe.Pointer(&args))
		}
	}
	var err error
	if out.Flops, err = d.rate(peak, took/2); err != nil {
		return out, err
	}
	out.Bandwidth, err = d.rate(read, took/2)
	return out, err
}

// limit is work that says what the machine can do: all threads do it at the same time, or those that come.
type limit struct {
	most  int     // elements or steps of a piece
	count float64 // of what is counted, in a piece
	do    func(thread, i int)
	until time.Time
	mu    sync.Mutex
	done  float64
}

func (l *limit) part(_, thread int) error {
	n := 0
	for ; n&7 != 0 || time.Now().Before(l.until); n++ {
		l.do(thread, n)
	}
	l.mu.Lock()
	l.done += float64(n) * l.count
	l.mu.Unlock()
	return nil
}

// rate is the best of a few rates, in which nobody disturbed.
func (d *Device) rate(l *limit, took time.Duration) (best float64, err error) {
	const tries = 5
	for range tries {
		l.done = 0
		start := time.Now()
		l.until = start.Add(took / tries)
		if err := d.team.parallel(d.threads, l); err != nil {
			return 0, err
		}
		best = max(best, l.done/time.Since(start).Seconds())
	}
	return best, nil
}

// limitArgs is the argument block of the loops.
type limitArgs struct {
	N    int64
	From unsafe.Pointer
}

// chainsOf are sums that do not depend on one another: enough for two units of a latency of 4 or 5.
func chainsOf(f x86.Features) int {
	if f&x86.V4 != 0 {
		return 16
	}
	return 12
}

// flopsLoop adds products to so many sums, N times.
type flopsLoop struct{}

func (flopsLoop) Program(f x86.Features) (*x86.Prog, error) {
	p, kind := x86.NewProg("limit_flops"), vector(f)
	n := p.New(x86.GP64)
	p.Emit(x86.MOV, n, x86.At(x86.RDI, int(unsafe.Offsetof(limitArgs{}.N))))
	a := p.New(kind)
	p.Emit(x86.VXORPS, a, a, a)
	var sums []x86.Reg
	for range chainsOf(f) {
		r := p.New(kind)
		p.Emit(x86.VXORPS, r, r, r)
		sums = append(sums, r)
	}
	loop := p.Label("loop")
	p.Align(64)
	p.Bind(loop)
	for _, r := range sums {
		p.Emit(x86.VFMADD231PS, r, a, a)
	}
	p.Emit(x86.DEC, n)
	p.Emit(x86.JNE, loop)
	p.Emit(x86.RET)
	return p, nil
}

const readAtOnce = 512 // bytes

// readLoop reads N times so many bytes.
type readLoop struct{}

func (readLoop) Program(f x86.Features) (*x86.Prog, error) {
	p, kind := x86.NewProg("limit_read"), vector(f)
	n, from := p.New(x86.GP64), p.New(x86.GP64)
	p.Emit(x86.MOV, n, x86.At(x86.RDI, int(unsafe.Offsetof(limitArgs{}.N))))
	p.Emit(x86.MOV, from, x86.At(x86.RDI, int(unsafe.Offsetof(limitArgs{}.From))))
	loop := p.Label("loop")
	p.Align(64)
	p.Bind(loop)
	for at := 0; at < readAtOnce; at += kind.Bits() / 8 {
		p.Emit(x86.VMOVUPS, p.New(kind), x86.At(from, at))
	}
	for at := 0; at < readAtOnce; at += 64 {
		p.Emit(x86.PREFETCHT0, x86.At(from, at+2048))
	}
	p.Emit(x86.ADD, from, x86.Imm(readAtOnce))
	p.Emit(x86.DEC, n)
	p.Emit(x86.JNE, loop)
	p.Emit(x86.RET)
	return p, nil
}

func vector(f x86.Features) x86.Kind {
	if f&x86.V4 != 0 {
		return x86.ZMM
	}
	return x86.YMM
}

var limitSink float32 // so that no compiler leaves work out

// plainFlops makes 16 operations, n times.
func plainFlops(n int) {
	var a, b, c, d, e, f, g, h float32
	x := limitSink
	for range n {
		a, b, c, d = a*x+x, b*x+x, c*x+x, d*x+x
		e, f, g, h = e*x+x, f*x+x, g*x+x, h*x+x
	}
	if a+b+c+d+e+f+g+h != 0 {
		panic("cpu: sums of zeros are not 0")
	}
}

func plainRead(data []float32) {
	var a, b, c, d float32
	for ; len(data) >= 4; data = data[4:] {
		a, b, c, d = a+data[0], b+data[1], c+data[2], d+data[3]
	}
	if a+b+c+d < 0 {
		panic("cpu: sums of ones are below 0")
	}
}
