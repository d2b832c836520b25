package x86

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// binutils skips a test where GNU as is not there.
func binutils(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"as", "objcopy", "objdump"} {
		out, err := exec.Command(tool, "--version").Output()
		if err != nil || !bytes.Contains(out, []byte("GNU")) {
			t.Skipf("GNU %s is not here: encodings are not compared with binutils", tool)
		}
	}
	if err := exec.Command("as", "--64", "-o", os.DevNull, os.DevNull).Run(); err != nil {
		t.Skip("GNU as is here for another processor: encodings are not compared with binutils")
	}
}

func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		if len(out) > 4000 {
			out = out[:4000]
		}
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// assemble gives the bytes that GNU as makes of a listing.
func assemble(t *testing.T, source string) []byte {
	t.Helper()
	dir := t.TempDir()
	s, o, b := filepath.Join(dir, "a.s"), filepath.Join(dir, "a.o"), filepath.Join(dir, "a.bin")
	if err := os.WriteFile(s, []byte(source), 0o666); err != nil {
		t.Fatal(err)
	}
	tool(t, "as", "--64", "-o", o, s)
	tool(t, "objcopy", "-O", "binary", "-j", ".text", o, b)
	out, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// slots disassembles instructions that lie 16 bytes apart.
func slots(t *testing.T, code []byte) []string {
	t.Helper()
	b := filepath.Join(t.TempDir(), "a.bin")
	if err := os.WriteFile(b, code, 0o666); err != nil {
		t.Fatal(err)
	}
	text := string(tool(t, "objdump", "-D", "-w", "-M", "intel", "-b", "binary", "-m", "i386:x86-64", "--no-show-raw-insn", b))
	out := make([]string, len(code)/slot)
	for _, l := range strings.Split(text, "\n") {
		at, ins, ok := strings.Cut(l, ":\t")
		var n int
		if _, err := fmt.Sscanf(strings.TrimSpace(at), "%x", &n); ok && err == nil && n%slot == 0 {
			out[n/slot] = strings.TrimSpace(ins)
		}
	}
	return out
}

const slot = 16

// drawer draws operands.
type drawer struct{ *rand.Rand }

func (d drawer) reg(k Kind, sp space) Reg {
	n := 16
	switch {
	case k == Mask:
		n = 8
	case k.Class() == Vector && sp == evex:
		n = 32
	}
	return reg(k, d.IntN(n))
}

func (d drawer) mask() Reg { return K(1 + d.IntN(7)) }

func (d drawer) mem(s *argSpec, sp space) Mem {
	var m Mem
	size := max(s.mem/8, 1)
	switch d.IntN(4) {
	case 0:
	case 1:
		m.Disp = int64(d.IntN(256) - 128)
	case 2:
		m.Disp = int64((d.IntN(260) - 130) * size)
	case 3:
		m.Disp = int64(int32(d.Uint32()))
	}
	scale := uint8(1) << d.IntN(4)
	base := reg(GP64, d.IntN(16))
	switch {
	case s.index != NoKind:
		m.Base, m.Index, m.Scale = base, d.reg(s.index, sp), scale
	case d.IntN(8) == 0:
		m.sym = 1
	case d.IntN(8) == 0: // absolute
	case d.IntN(3) == 0:
		m.Index, m.Scale = reg(GP64, d.IntN(16)), scale
		if m.Index == RSP {
			m.Index = RAX
		}
		if d.IntN(4) != 0 {
			m.Base = base
		}
	default:
		m.Base = base
	}
	return m
}

func (d drawer) operand(s *argSpec, sp space) Operand {
	var can []func() Operand
	if s.kind != NoKind {
		can = append(can, func() Operand {
			r := d.reg(s.kind, sp)
			switch {
			case s.mask == mustMask || s.mask != noMask && d.IntN(3) == 0:
				return r.K(d.mask())
			case s.mask == zeroing && d.IntN(2) == 0:
				return r.Z(d.mask())
			}
			return r
		})
	}
	if s.mem != 0 {
		can = append(can, func() Operand {
			m := d.mem(s, sp)
			if s.mask == mustMask && s.kind == NoKind || (s.mask == merging || s.mask == zeroing) && d.IntN(2) == 0 {
				m.Mask = d.mask()
			}
			return m
		})
	}
	if s.bcast != 0 {
		can = append(can, func() Operand {
			e := *s
			e.mem = s.bcast
			return d.mem(&e, sp).B()
		})
	}
	switch s.imm {
	case imm8:
		can = append(can, func() Operand { return Imm(d.IntN(256)) })
	case imm8s:
		can = append(can, func() Operand { return Imm(d.IntN(256) - 128) })
	case imm32:
		can = append(can, func() Operand { return Imm(int64(int32(d.Uint32()))) })
	case imm32u:
		can = append(can, func() Operand { return Imm(d.Uint32()) })
	case imm64:
		can = append(can, func() Operand { return Imm(d.Uint64()) })
	}
	return can[d.IntN(len(can))]()
}

// TestEncodings encodes every form of the table with drawn operands, has GNU as assemble
// what the listing says, and compares bytes. Where they differ, both are disassembled and must
// be the same instruction.
func TestEncodings(t *testing.T) {
	binutils(t)
	d := drawer{rand.New(rand.NewPCG(1, 2))}
	var ours []byte
	var source strings.Builder
	var names []string
	source.WriteString(".intel_syntax noprefix\n.LC0:\n")
	forms := 0
	for _, o := range ops {
		fs := o.Forms()
		for i := range fs {
			f := &fs[i]
			if len(f.args) > 0 && (f.args[0].imm == rel8 || f.args[0].imm == rel32) {
				continue // TestListing has jumps
			}
			forms++
			for n := 0; n < 24; n++ {
				args := make([]Operand, len(f.args))
				for {
					for j := range args {
						args[j] = d.operand(&f.args[j], f.space)
					}
					if !f.gather || distinct(args) == nil {
						break
					}
				}
				in := &Inst{Op: o, Args: args}
				text := in.text(f, nil)
				if !f.match(args) {
					t.Fatalf("%s: the form %q does not take what was drawn for it", text, f.text)
				}
				at := len(ours)
				var fix fixup
				ours, fix = f.encode(ours, args)
				if fix.sym > 0 {
					disp := fix.disp - int32(len(ours))
					for k := range 4 {
						ours[at+fix.at+k] = byte(disp >> (8 * k))
					}
				}
				if len(ours)-at > 15 {
					t.Fatalf("%s: %d bytes", text, len(ours)-at)
				}
				for len(ours)%slot != 0 {
					ours = append(ours, 0xCC)
				}
				if f.space == evex {
					text = "{evex} " + text
				}
				names = append(names, text)
				fmt.Fprintf(&source, "%s\n.balign 16, 0xcc\n", text)
			}
		}
	}
	theirs := assemble(t, source.String())
	if len(theirs) != len(ours) {
		t.Fatalf("as made %d slots, here are %d", len(theirs)/slot, len(ours)/slot)
	}
	our, their := slots(t, ours), slots(t, theirs)
	other, failed := map[string]int{}, 0
	for i, name := range names {
		a, b := ours[i*slot:(i+1)*slot], theirs[i*slot:(i+1)*slot]
		if bytes.Equal(a, b) {
			continue
		}
		if our[i] == their[i] && our[i] != "" {
			other[strings.Fields(strings.TrimPrefix(name, "{evex} "))[0]]++
			continue
		}
		if failed++; failed < 40 {
			t.Errorf("%s\n  here %x %s\n  as   %x %s", name, bytes.TrimRight(a, "\xcc"), our[i], bytes.TrimRight(b, "\xcc"), their[i])
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d differ", failed, len(names))
	}
	t.Logf("%d instructions, %d forms, %d encodings compared; as has another one of the same for %v", len(ops), forms, len(names), other)
}
