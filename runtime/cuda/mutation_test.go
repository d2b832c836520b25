package cuda

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cuda/emu"
	"github.com/pitopt/pitopt/runtime/cuda/ptx"
	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// spoiled are programs beside kerneltest's.
var spoiled = map[string]string{
	// Lanes read what other lanes have put in scratch.
	"reversed": `program @reversed[n, m](x: [n, m] f32) -> (y: [n, m] f32) {
  t[i < n] f32 = sum(k < m) x[i, k]
  c[i < n, k < m] f32 = (x[i, k] - t[i])
  s[i < n] f32 = sum(k < m) c[i, k]
  y[i < n, k < m] = (c[i, (({m} - 1) - k)] * s[i])
}`,
	"wide": `program @wide[n, m](x: [n, m] f64) -> (y: [n] f64) {
  y[i < n] = sum(k < m) x[i, k]
}`,
	// Some of what is looked up is not there.
	"rows": `program @rows[n, m](x: [n, m] f32, at: [n] i64) -> (y: [n, m] f32) {
  y[i < n, k < m] = x[at[i], k]
}`,
	"lookup": `program @lookup[n, m](x: [m] f32, at: [n, m] i64) -> (y: [n, m] f32) {
  y[i < n, k < m] = x[at[i, k]]
}`,
}

// mutations are changes of what is printed, each at the n-th place where it fits.
var mutations = []struct {
	name, kernel, from, to string
	n                      int
}{
	{"the barrier before a tile is written over", "matmul", "bar.sync 0;", "", 0},
	{"the barrier before a tile is read", "matmul", "bar.sync 0;", "", 1},
	{"a barrier of the warp", "reversed", "bar.warp.sync -1;", "", 2},
	{"the predicate of a load", "gelu", "@%p", "//@%p", -1},
	{"the predicate of a store", "matmul", " st.global.f32", " st.global.f32", 0},
	{"a tail that is one lane too long", "gelu", "setp.lt.s64", "setp.le.s64", 0},
	{"the guard of a row", "matmul", "setp.lt.u32 %p", "setp.le.u32 %p", -2},
	{"elements of eight bytes", "gelu", "shl.b64 %n", "shl.b64 %n", 0},
	{"a stride that is another", "transpose", "mul.lo.s64", "add.s64", -2},
	{"lanes that are not met", "softmax", "31, -1;", "15, -1;", 0},
	{"a shuffle by another distance", "softmax", ", 16, 31, -1;", ", 8, 31, -1;", 0},
	{"a sum for a difference", "reversed", "sub.rn.f32", "add.rn.f32", 0},
	{"a sum that is not kept", "matmul", "mov.f32 %f", "//mov.f32 %f", -2},
	{"a power of two less", "gelu", ", 127;", ", 126;", 0},
	{"rows of a tile that are another vector's", "matmul", "cvt.u64.u32 %n", "cvt.u64.u32 %n", -3},
	{"a vector that is read twice", "matmul", "+128]", "+0]", -4},
	{"scratch that warps share", "reversed", "cvt.u64.u32 %which, %warp;", "mov.u64 %which, 0;", 0},
	{"two registers of a left fragment", "matmul16", ".x4.shared", "", -5},
	{"two registers of a right fragment", "matmul16", ".x2.trans", "", -5},
	{"two registers of a transposed left fragment", "scores16", ".x4.trans", "", -5},
	{"a right fragment that is not transposed", "matmul16", ".x2.trans", ".x2", 0},
	{"a right fragment that is transposed", "scores16", ".x2.shared", ".x2.trans.shared", 0},
	{"sums of two rows", "matmul16", ".f32.f16.f16.f32 {", "", -5},
	{"the barrier before sums are read", "matmul16", "bar.sync 0;", "", 3},
	{"rows of a fragment that lie one element nearer", "matmul16", "mad.lo.u32 %row, %row, 40", "mad.lo.u32 %row, %row, 39", 0},
	{"bf16 for f16", "matmul16", ".f16.f16.f32", ".bf16.bf16.f32", 0},
	{"half of a shuffle by another distance", "wide", ", 16, 31, -1;", ", 8, 31, -1;", 1},
	{"a number that divides as another", "rolled", "mov.b64 {", "", -5},
	{"an index that is not held", "rows", "setp.lt.u64", "setp.ge.u64", 1},
	{"an index of a lane that is not held", "lookup", "setp.lt.u64", "setp.ge.s64", 0},
	{"a failure that is not noted", "lookup", " red.global", " //red.global", 0},
	{"pieces that are left out", "gelu", "mad.lo.u32 %piece, %piece, 4,", "mad.lo.u32 %piece, %piece, 3,", 0},
}

// mutate changes the text; some places take more than a replacement.
func mutate(text string, n int, from, to string) (string, bool) {
	body := strings.Index(text, "\n{\n")
	head, text := text[:body], text[body:]
	switch n {
	case -1: // the first load under a predicate, without it
		lines := strings.Split(text, "\n")
		for i, l := range lines {
			if strings.Contains(l, " ld.global") && strings.Contains(l, "@%p") {
				lines[i] = l[strings.Index(l, "ld.global"):]
				return head + strings.Join(lines, "\n"), true
			}
		}
		return text, false
	case -2, -3: // the last one
		i := strings.LastIndex(text, from)
		if i < 0 {
			return text, false
		}
		if n == -3 {
			return head + strings.Replace(text, ", %warp;", ", %ctaid.y;", 1), strings.Contains(text, ", %warp;")
		}
		return head + text[:i] + to + text[i+len(from):], true
	case -4:
		i := strings.Index(text, "ld.shared")
		if i < 0 || !strings.Contains(text[i:], from) {
			return text, false
		}
		return head + text[:i] + strings.Replace(text[i:], from, to, 1), true
	}
	at := 0
	if n == -5 { // the first two registers of the instruction's first list
		i := strings.Index(text, from)
		if i < 0 {
			return text, false
		}
		i += strings.Index(text[i:], "{") + 1
		if from[len(from)-1] == '{' {
			i = strings.Index(text, from) + len(from)
		}
		end := i + strings.Index(text[i:], "}")
		list := strings.Split(text[i:end], ", ")
		list[0], list[1] = list[1], list[0]
		return head + text[:i] + strings.Join(list, ", ") + text[end:], true
	}
	for ; ; n-- {
		i := strings.Index(text[at:], from)
		if i < 0 {
			return text, false
		}
		if at += i; n == 0 {
			break
		}
		at += len(from)
	}
	if from == to { // an operand: the predicate of the line, or the shift
		end := at + strings.Index(text[at:], ";")
		start := strings.LastIndex(text[:at], "\n") + 1
		line := text[start:end]
		if p := strings.Index(line, "@%p"); p >= 0 {
			line = line[:p] + line[p+strings.Index(line[p:], " ")+1:]
		} else {
			line = strings.TrimSuffix(line, "2") + "3"
		}
		return head + text[:start] + line + text[end:], true
	}
	return head + text[:at] + to + text[at+len(from):], true
}

// Kernels that are printed wrong are found by the emulator, or by what comes out.
func TestMutations(t *testing.T) {
	d := device(t, emu.Options{Races: true})
	for i, m := range mutations {
		if testing.Short() && i%4 > 0 {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			src := cmp.Or(kerneltest.Examples[m.kernel], spoiled[m.kernel])
			p := kerneltest.Program(t, src)
			bind := map[string]int64{"n": 39, "m": 170, "k": 71, "b": 2, "h": 3}
			value := func(s string) (int64, bool) { n, ok := bind[s]; return n, ok }
			groups := kernel.New(p, options()).Groups
			if len(groups) == 0 || groups[0].First > 0 {
				t.Fatal("there is no kernel")
			}
			b, err := groups[0].Kernel.Bind(value)
			if err != nil {
				t.Fatal(err)
			}
			cut := b.Cut(200)
			code, err := ptx.Print(cut.Kernel, ptx.Options{Shared: true})
			if err != nil {
				t.Fatal(err)
			}
			fill := func() (out [][]byte) {
				r := rand.New(rand.NewPCG(3, 4))
				for i, o := range cut.Buffers {
					n, err := o.Len.Eval(value)
					if err != nil {
						t.Fatal(err)
					}
					if o.Scratch {
						out = append(out, make([]byte, b.Scratch[i]))
						continue
					}
					x := tensor.New(o.DType, n)
					if kerneltest.Draw(r, x, 0); o.Written {
						clear(x.Bytes())
					}
					out = append(out, x.Bytes())
				}
				return out
			}
			want, right, wrong := fill(), fill(), fill()
			ranges := make([]int64, 2*len(b.Extents))
			fails := false
			for i := range cut.Pieces() {
				cut.Piece(i, ranges)
				f, err := b.Run(want, ranges)
				if err != nil {
					t.Fatal(err)
				}
				fails = fails || f
			}
			same := func(got [][]byte, failed bool) bool {
				if failed != fails {
					return false
				}
				for i, o := range cut.Buffers {
					if o.Written && !o.Scratch && !bytes.Equal(got[i], want[i]) {
						return false
					}
				}
				return true
			}
			if failed, err := d.runOn(cut, code, ptx.Options{Shared: true}, right); err != nil || !same(right, failed) {
				t.Fatalf("it is wrong as it is: %v", err)
			}
			text, ok := mutate(code.Text, m.n, m.from, m.to)
			if !ok || text == code.Text {
				t.Fatalf("there is no such place in\n%s", code.Text)
			}
			changed := *code
			changed.Text = text
			failed, err := device(t, emu.Options{Races: true, Budget: 1 << 22}).runOn(cut, &changed, ptx.Options{Shared: true}, wrong)
			if err == nil && same(wrong, failed) {
				t.Errorf("nobody finds it\n%s", text)
			}
			t.Logf("found: %.160v", err)
		})
	}
}
