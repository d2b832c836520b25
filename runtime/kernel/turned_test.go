package kernel_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// A map that reads along another loop than it writes goes along that inside of the vectors' loop.
func TestTurned(t *testing.T) {
	cases := []struct {
		src    string
		ranges string // the extents
		inside int
	}{
		{"program @p[n, m](x: [n, m] f32) -> (y: [m, n] f32) {\ny[i < m, j < n] = x[j, i]\n}", "m n", 1},
		{"program @p[n, m](x: [m, n] u8, z: [n, m] u8) -> (y: [m, n] u8) {\ny[i < m, j < n] = u8((f32(x[i, j]) + f32(z[j, i])))\n}", "m n", 1},
		{"program @p[b, c, s](x: [b, c, s] f32) -> (y: [b, s, c] f32) {\ny[i < b, j < s, k < c] = x[i, k, j]\n}", "b s c", 2},
		{"program @p[a, b, c](x: [a, b, c] i64) -> (y: [c, a, b] i64) {\ny[k < c, i < a, j < b] = x[i, j, k]\n}", "c a*b", 1},
		{"program @p[a, b, c](x: [a, b, c] f32) -> (y: [c, b, a] f32) {\ny[k < c, j < b, i < a] = x[i, j, k]\n}", "c b a", 1},
		// along the vectors, and along nothing
		{"program @p[b, s, h](x: [b, s, h, 32] f32) -> (y: [b, h, s, 32] f32) {\ny[i < b, j < h, k < s, l < 32] = x[i, k, j, l]\n}", "b h s 32", 0},
		{"program @p[n, m](x: [n, m, 3] f32) -> (y: [n, m] f32) {\ny[i < n, j < m] = x[i, j, 1]\n}", "m*n", 0},
		{"program @p[n, m](x: [n] f32, z: [m] f32) -> (y: [m, n] f32) {\ny[i < m, j < n] = (x[j] + z[i])\n}", "m n", 0},
	}
	for _, c := range cases {
		p := programOf(t, c.src)
		for _, o := range []kernel.Options{{Lanes: 8, Wide: 4, Blocked: true, Squares: true}, {Lanes: 8, Wide: 4, Blocked: true}, {Lanes: 8, Wide: 4}} {
			s, blocked := kernel.New(p, o), o.Blocked
			if len(s.Groups) != 1 {
				t.Fatalf("%s: %d kernels: %v", c.src, len(s.Groups), s.Refused)
			}
			k := s.Groups[0].Kernel
			var ranges []string
			for _, r := range k.Ranges {
				ranges = append(ranges, r.String())
			}
			want := c.inside
			if !blocked {
				want = 0
			}
			if got := strings.Join(ranges, " "); got != c.ranges || k.Inside != want {
				t.Errorf("%s: ranges %s, of which %d is inside; want %s, %d\n%s", c.src, got, k.Inside, c.ranges, want, k)
			}
			ctx := sym.NewContext()
			for _, n := range p.Syms {
				if err := ctx.SetRange(n, 1, 1<<20); err != nil {
					t.Fatal(err)
				}
			}
			if err := k.Verify(ctx); err != nil {
				t.Errorf("%v\n%s", err, k)
			}
			vectors := false
			for _, x := range k.Body.List {
				vectors = vectors || x.Op == kernel.OpLoop && innermost(x.Loop).Step != 1
			}
			if blocked && want > 0 && vectors != o.Squares {
				t.Errorf("the innermost loop goes by vectors: %t\n%s", vectors, k)
			}
		}
	}
}

func innermost(l *kernel.Loop) *kernel.Loop {
	for _, x := range l.Body.List {
		if x.Op == kernel.OpLoop {
			return innermost(x.Loop)
		}
	}
	return l
}

// Pieces have some turns of the loop inside of the vectors', whole lines of the vectors', and all points once.
func TestTurnedPieces(t *testing.T) {
	k := kernel.New(programOf(t, "program @p[b, n, m](x: [b, n, m] f32) -> (y: [b, m, n] f32) {\ny[h < b, i < m, j < n] = x[h, j, i]\n}"), kernel.Options{Lanes: 8, Blocked: true}).Groups[0].Kernel
	for _, size := range [][3]int64{{2, 1000, 700}, {3, 5, 1 << 14}, {1, 1 << 14, 5}, {4, 40, 40}} {
		b, err := k.Bind(func(s string) (int64, bool) { return size[strings.Index("bnm", s)], true })
		if err != nil {
			t.Fatal(err)
		}
		for _, most := range []float64{1, 1000, 1 << 15, 1 << 40} {
			c := b.Cut(most)
			ranges, points := make([]int64, 6), int64(0)
			for i := range c.Pieces() {
				c.Piece(i, ranges)
				turns, vectors := ranges[3]-ranges[2], ranges[5]-ranges[4]
				if ranges[2]%256 != 0 || turns < 256 && ranges[3] != size[2] || vectors < 32 && ranges[5] != size[1] {
					t.Errorf("%v by %g: a piece of %v", size, most, ranges)
				}
				points += (ranges[1] - ranges[0]) * turns * vectors
			}
			if points != size[0]*size[1]*size[2] {
				t.Errorf("%v by %g: %d points in pieces", size, most, points)
			}
			if p := b.Total() / float64(c.Pieces()); most > 1<<20 && c.Pieces() > 1 || most == 1 && p > 2*b.Least() {
				t.Errorf("%v by %g: %d pieces, of %g operations, the least %g", size, most, c.Pieces(), p, b.Least())
			}
		}
	}
}

// What loops by vectors in one another read and write ends where buffers end: an element or a vector more is found, wherever it is.
func TestVerifySquares(t *testing.T) {
	for _, src := range []string{
		"program @p[n, m](x: [n, m] f32) -> (y: [m, n] f32) {\ny[i < m, j < n] = x[j, i]\n}",
		"program @p[b, n, m](x: [b, n, m] i64, z: [b, m, n] i64) -> (y: [b, m, n] i64) {\ny[h < b, i < m, j < n] = (x[h, j, i] + z[h, i, j])\n}",
	} {
		p := programOf(t, src)
		k := kernel.New(p, kernel.Options{Lanes: 8, Wide: 4, Blocked: true, Squares: true}).Groups[0].Kernel
		ctx := sym.NewContext()
		for _, n := range p.Syms {
			if err := ctx.SetRange(n, 8, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.Verify(ctx); err != nil {
			t.Fatalf("%v\n%s", err, k)
		}
		for _, b := range k.Buffers {
			size := b.Len
			b.Len = size.Sub(sym.Const(1))
			if err := k.Verify(ctx); err == nil || !strings.Contains(err.Error(), "in bounds") {
				t.Errorf("%s is an element shorter: %v\n%s", b.Of.Name, err, k)
			}
			b.Len = size
		}
		// Each access in a square, an element further: the last one of each buffer is beyond its end.
		found := map[*kernel.Buffer]int{}
		var spoil func(b *kernel.Block, vectors int)
		spoil = func(b *kernel.Block, vectors int) {
			for i, v := range b.List {
				if v.Op == kernel.OpLoop {
					more := 0
					if v.Loop.Step > 1 {
						more = 1
					}
					spoil(v.Loop.Body, vectors+more)
				}
				if vectors < 2 || v.Op != kernel.OpLoad && v.Op != kernel.OpStore {
					continue
				}
				list, at := b.List, v.Args[1]
				v.Args[1] = &kernel.Value{Op: kernel.OpAdd, Kind: kernel.Int, Args: []*kernel.Value{at, {Op: kernel.OpConst, Kind: kernel.Int, N: 1}}}
				b.List = slices.Insert(slices.Clone(list), i, v.Args[1])
				if err := k.Verify(ctx); err != nil && strings.Contains(err.Error(), "in bounds") {
					found[v.Buf]++
				} else if err != nil {
					t.Error(err)
				}
				b.List, v.Args[1] = list, at
			}
		}
		spoil(k.Body, 0)
		var shorter func(b *kernel.Block, around *kernel.Loop)
		shorter = func(b *kernel.Block, around *kernel.Loop) {
			for _, v := range b.List {
				if v.Op != kernel.OpLoop {
					continue
				}
				if around != nil && around.Step > 1 && v.Loop.Step > 1 {
					for _, l := range []*kernel.Loop{around, v.Loop} {
						l.Tail = true
						if err := k.Verify(nil); err == nil || !strings.Contains(err.Error(), "shorter") {
							t.Errorf("loops by vectors in one another, one of which has a turn that is shorter: %v\n%s", err, k)
						}
						l.Tail = false
					}
				}
				shorter(v.Loop.Body, v.Loop)
			}
		}
		shorter(k.Body, nil)
		for _, b := range k.Buffers {
			if found[b] != 1 {
				t.Errorf("%d accesses of %s are found to be beyond it\n%s", found[b], b.Of.Name, k)
			}
		}
	}
}
