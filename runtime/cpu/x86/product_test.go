package x86

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// product is a plain driver of tiles and packing, for tests: C = A · B with B packed before, in
// blocks of k, rows divided evenly.
type product struct {
	rows, cols int // of the largest tile
	kc, mc     int
	tiles      []Func // by rows
	packs      []Func
}

func newProduct(t testing.TB, f Features) *product {
	d := &product{rows: 14, cols: 32, kc: 384}
	if f&V4 == 0 {
		d.rows, d.cols = 6, 16
	}
	d.mc = d.rows * 24
	d.tiles, d.packs = make([]Func, d.rows+1), make([]Func, d.rows+1)
	for r := 1; r <= d.rows; r++ {
		d.tiles[r], _ = compileTile(t, Tile{Rows: r, Cols: d.cols}, f)
		p, err := Pack{Rows: r}.Program(f)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Compile(p, f)
		if err != nil {
			t.Fatal(err)
		}
		d.packs[r] = loadCode(t, c)
	}
	return d
}

// block is how k is divided: evenly, in blocks of kc at most.
func (d *product) block(k int) int {
	n := (k + d.kc - 1) / d.kc
	return (k + n - 1) / n
}

// packB lays out B by blocks of k, then by panels of columns.
func (d *product) packB(b []float32, k, n int) []float32 {
	panels := (n + d.cols - 1) / d.cols
	out := alignedFloats(k * panels * d.cols)
	at, kc := 0, d.block(k)
	for k0 := 0; k0 < k; k0 += kc {
		for j := 0; j < n; j += d.cols {
			for x := k0; x < min(k0+kc, k); x++ {
				copy(out[at:at+d.cols], b[x*n+j:x*n+min(j+d.cols, n)])
				at += d.cols
			}
		}
	}
	return out
}

func alignedFloats(n int) []float32 {
	s := make([]float32, n+lineBytes/4)
	for uintptr(unsafe.Pointer(&s[0]))%lineBytes != 0 {
		s = s[1:]
	}
	return s[:n]
}

// pointers are the rows of a matrix.
func pointers(x []float32, rows, cols int) []unsafe.Pointer {
	p := make([]unsafe.Pointer, rows)
	for i := range p {
		p[i] = unsafe.Pointer(&x[i*cols])
	}
	return p
}

// run computes C; room is for packed rows.
func (d *product) run(m, n, k int, a []unsafe.Pointer, b []float32, c []unsafe.Pointer, room []float32) {
	kc := d.block(k)
	panels := (n + d.cols - 1) / d.cols
	for i0 := 0; i0 < m; i0 += d.mc {
		rows := min(d.mc, m-i0)
		parts := (rows + d.rows - 1) / d.rows
		part := func(p int) (from, count int) { return rows * p / parts, rows*(p+1)/parts - rows*p/parts }
		for k0 := 0; k0 < k; k0 += kc {
			now := min(kc, k-k0)
			for p := range parts {
				from, count := part(p)
				args := PackArgs{K: int64(now), From: unsafe.Pointer(&a[i0+from]), Offset: int64(4 * k0), To: unsafe.Pointer(&room[from*now])}
				d.packs[count].Call(unsafe.Pointer(&args))
			}
			args := TileArgs{K: int64(now)}
			if k0 > 0 {
				args.Accumulate = 1
			}
			for j := range panels {
				args.B = unsafe.Pointer(&b[k0*panels*d.cols+j*d.cols*now])
				args.COffset = int64(4 * j * d.cols)
				args.Count = int64(min(d.cols, n-j*d.cols))
				for p := range parts {
					from, count := part(p)
					args.A = unsafe.Pointer(&room[from*now])
					args.C = unsafe.Pointer(&c[i0+from])
					d.tiles[count].Call(unsafe.Pointer(&args))
				}
			}
		}
	}
}

// TestProduct holds whole products of ragged sizes against a plain sum.
func TestProduct(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, f := range tiers {
		if f&^here() != 0 {
			t.Logf("code for %s can not run here", f)
			continue
		}
		d := newProduct(t, f)
		for _, s := range [][3]int{{1, 1, 1}, {5, 33, 7}, {29, 100, 400}, {350, 40, 20}} {
			m, n, k := s[0], s[1], s[2]
			draw := func(n int) []float32 {
				x := alignedFloats(n)
				for i := range x {
					x[i] = float32(r.NormFloat64())
				}
				return x
			}
			a, b, c := draw(m*k), draw(k*n), draw(m*n)
			d.run(m, n, k, pointers(a, m, k), d.packB(b, k, n), pointers(c, m, n), alignedFloats(d.mc*d.kc))
			for i := range m {
				for j := range n {
					want, mag := 0.0, 0.0
					for x := range k {
						y := float64(a[i*k+x]) * float64(b[x*n+j])
						want, mag = want+y, mag+math.Abs(y)
					}
					if got := float64(c[i*n+j]); !(math.Abs(got-want) <= 1e-6*mag) {
						t.Fatalf("%s, %dx%dx%d: C[%d, %d] is %g, want %g", f, m, n, k, i, j, got, want)
					}
				}
			}
		}
	}
}

// BenchmarkProduct is whole products on one thread, packing of A included: the fastest round, and
// its share of the peak measured before and after.
func BenchmarkProduct(b *testing.B) {
	for _, f := range tiers {
		if f&^here() != 0 {
			b.Logf("code for %s can not run here", f)
			continue
		}
		d := newProduct(b, f)
		for _, kn := range [][2]int{{768, 768}, {768, 3072}, {3072, 768}, {384, 384}, {384, 1536}, {1024, 1024}} {
			for _, m := range []int{1, 8, 64, 128, 512} {
				k, n := kn[0], kn[1]
				b.Run(fmt.Sprintf("%s/%dx%dx%d", strings.ReplaceAll(f.String(), " ", "+"), m, k, n), func(b *testing.B) {
					x, y, c := alignedFloats(m*k), d.packB(alignedFloats(k*n), k, n), alignedFloats(m*n)
					room := alignedFloats(d.mc * d.kc)
					a, cs := pointers(x, m, k), pointers(c, m, n)
					best := peakFlops(b, f)
					fastest := math.Inf(1)
					for b.Loop() {
						start := time.Now()
						d.run(m, n, k, a, y, cs, room)
						fastest = min(fastest, time.Since(start).Seconds())
					}
					best = max(best, peakFlops(b, f))
					flops := 2 * float64(m) * float64(n) * float64(k)
					b.ReportMetric(flops/fastest/1e9, "GFLOP/s")
					b.ReportMetric(best/1e9, "GFLOP/s-peak")
					b.ReportMetric(100*flops/fastest/best, "%-of-peak")
				})
			}
		}
	}
}
