package emu

// module is what a text of PTX says.
type module struct {
	version int // 10 * major + minor
	sm      int // .target: 80 is sm_80
	vars    []*variable
	byName  map[string]*variable
	funcs   map[string]*function
}

// variable has memory: of a module, of a block, of a thread, or a parameter.
type variable struct {
	name   string
	space  space
	typ    typ
	align  int
	bytes  int64 // 0 where the launch decides
	init   []byte
	refs   []symbolRef // addresses in init
	addr   uint64      // in its space; of global and const memory only when loaded
	open   bool        // extern shared memory, as much as the launch gives
	line   int
	atLoad bool // lives in the memory of the device
}

// symbolRef is the address of a variable in what another starts with.
type symbolRef struct {
	at   int
	name string
	off  int64
	size int
	gen  bool // as a generic address
	line int
}

// function is an entry, as written and decoded.
type function struct {
	name       string
	line       int
	params     []*variable
	paramBytes int64
	vars       []*variable // shared and local
	sharedSize int64
	localSize  int64
	open       *variable            // extern shared memory that is used
	sharedAt   map[*variable]uint64 // where the module's shared variables lie
	maxThreads [3]int               // .maxntid
	reqThreads [3]int               // .reqntid

	body   []*inst
	labels map[label]int // to the instruction they stand before

	slots    int // registers of 64 bits, constants and special ones included
	preds    int
	consts   map[uint64]int  // slot of an immediate
	specials map[special]int // slot of a special register
	syms     map[symbol]int  // slot of an address
	regNames []string        // by slot; "" where it is none of the text
	prdNames []string

	code     []instr
	pressure int // registers of 32 bits that are in use at once, at most
}

// symbol is a place in a variable.
type symbol struct {
	v   *variable
	off int64
}

// label is a name in a scope.
type label struct {
	name  string
	scope int
}

// reg is a register of the text.
type reg struct {
	name string
	typ  typ
	slot int // its place: among predicates if it is one
}

// inst is an instruction as written.
type inst struct {
	line  int
	guard *reg
	not   bool // of the guard
	op    string
	mods  []string
	args  []operand
	scope []int // scopes around it, inner first, to find labels
}

// name is the instruction with its modifiers.
func (in *inst) name() string {
	s := in.op
	for _, m := range in.mods {
		s += "." + m
	}
	return s
}

type operandKind uint8

const (
	noOperand operandKind = iota
	regOperand
	immOperand
	symOperand     // the address of a variable
	memOperand     // [base + off]
	vecOperand     // {...}
	labelOperand   // a name that is nothing else
	specialOperand // %tid.x and the like
	sinkOperand    // _
)

type operand struct {
	kind operandKind
	reg  *reg
	not  bool   // !p
	imm  uint64 // of an immediate, whose kind of number typ tells
	typ  typ    // s64, u64, f32, f64
	sym  *variable
	off  int64
	base *operand // of memory: a register, a symbol or an immediate
	vec  []operand
	pair *operand // q of p|q
	name string
	spec special
}

// special is a special register.
type special uint8

const (
	noSpecial special = iota
	tidX
	tidY
	tidZ
	ntidX
	ntidY
	ntidZ
	ctaidX
	ctaidY
	ctaidZ
	nctaidX
	nctaidY
	nctaidZ
	laneID
	warpID
	nwarpID
	smID
	nsmID
	gridID
	lanemaskEQ
	lanemaskLE
	lanemaskLT
	lanemaskGE
	lanemaskGT
	dynamicSmem
	totalSmem
	clock
	clock64
	globaltimer
)

var specialNames = map[string]special{
	"%tid.x": tidX, "%tid.y": tidY, "%tid.z": tidZ, "%ntid.x": ntidX, "%ntid.y": ntidY, "%ntid.z": ntidZ,
	"%ctaid.x": ctaidX, "%ctaid.y": ctaidY, "%ctaid.z": ctaidZ,
	"%nctaid.x": nctaidX, "%nctaid.y": nctaidY, "%nctaid.z": nctaidZ,
	"%laneid": laneID, "%warpid": warpID, "%nwarpid": nwarpID, "%smid": smID, "%nsmid": nsmID, "%gridid": gridID,
	"%lanemask_eq": lanemaskEQ, "%lanemask_le": lanemaskLE, "%lanemask_lt": lanemaskLT,
	"%lanemask_ge": lanemaskGE, "%lanemask_gt": lanemaskGT,
	"%dynamic_smem_size": dynamicSmem, "%total_smem_size": totalSmem,
	"%clock": clock, "%clock64": clock64, "%globaltimer": globaltimer,
}

func (s special) typ() typ {
	switch s {
	case gridID, clock64, globaltimer:
		return u64
	}
	return u32
}
