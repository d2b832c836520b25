package emu

// typ is a fundamental type of PTX.
type typ uint8

const (
	noType typ = iota
	pred
	b8
	b16
	b32
	b64
	b128
	u8
	u16
	u32
	u64
	s8
	s16
	s32
	s64
	f16
	f16x2
	bf16
	bf16x2
	tf32
	f32
	f64
)

var typeNames = map[string]typ{
	"pred": pred, "b8": b8, "b16": b16, "b32": b32, "b64": b64, "b128": b128,
	"u8": u8, "u16": u16, "u32": u32, "u64": u64, "s8": s8, "s16": s16, "s32": s32, "s64": s64,
	"f16": f16, "f16x2": f16x2, "bf16": bf16, "bf16x2": bf16x2, "tf32": tf32, "f32": f32, "f64": f64,
}

var typeInfo = [...]struct {
	name  string
	bytes int
	class byte // 'p'redicate, 'b'its, 'u'nsigned, 's'igned, 'f'loat
}{
	noType: {"none", 0, 0}, pred: {"pred", 0, 'p'},
	b8: {"b8", 1, 'b'}, b16: {"b16", 2, 'b'}, b32: {"b32", 4, 'b'}, b64: {"b64", 8, 'b'}, b128: {"b128", 16, 'b'},
	u8: {"u8", 1, 'u'}, u16: {"u16", 2, 'u'}, u32: {"u32", 4, 'u'}, u64: {"u64", 8, 'u'},
	s8: {"s8", 1, 's'}, s16: {"s16", 2, 's'}, s32: {"s32", 4, 's'}, s64: {"s64", 8, 's'},
	f16: {"f16", 2, 'f'}, f16x2: {"f16x2", 4, 'f'}, bf16: {"bf16", 2, 'f'}, bf16x2: {"bf16x2", 4, 'f'},
	tf32: {"tf32", 4, 'f'}, f32: {"f32", 4, 'f'}, f64: {"f64", 8, 'f'},
}

func (t typ) String() string { return typeInfo[t].name }
func (t typ) bytes() int     { return typeInfo[t].bytes }
func (t typ) bits() int      { return 8 * typeInfo[t].bytes }
func (t typ) signed() bool   { return typeInfo[t].class == 's' }
func (t typ) float() bool    { return typeInfo[t].class == 'f' }

// mask has the bits of a value of t.
func (t typ) mask() uint64 {
	if n := t.bits(); n < 64 {
		return 1<<n - 1
	}
	return ^uint64(0)
}

// fits says whether a register of type reg may be an operand of an instruction on t: they are of
// one size, and of one class, where bits go with all. A wider register is fine where loose is set.
func fits(reg, t typ, loose bool) bool {
	if reg == pred || t == pred {
		return reg == t
	}
	if reg.bytes() != t.bytes() && !(loose && reg.bytes() > t.bytes()) {
		return false
	}
	c, d := typeInfo[reg].class, typeInfo[t].class
	if c == 'b' || d == 'b' {
		return true
	}
	if loose && reg.bytes() > t.bytes() {
		return c != 'f' || d == 'f'
	}
	// The small floats live in registers of bits.
	return (c == 'f') == (d == 'f')
}

// space is a state space.
type space uint8

const (
	generic space = iota
	global
	shared
	local
	param
	constant
	register
)

var spaceNames = map[string]space{
	"global": global, "shared": shared, "local": local, "param": param, "const": constant, "reg": register,
	"shared::cta": shared, "param::entry": param,
}

func (s space) String() string {
	return [...]string{"generic", "global", "shared", "local", "param", "const", "reg"}[s]
}

// Generic addresses: the memory of the device starts at slotBytes, each allocation with a slot of
// its own; below it lie windows on what a thread has beside it.
const (
	slotBits    = 36
	slotBytes   = 1 << slotBits
	windowBits  = 32
	sharedBase  = 1 << windowBits
	localBase   = 2 << windowBits
	paramBase   = 3 << windowBits
	windowBytes = 1 << windowBits
)
