package x86

// General registers, jumps, caches.
var (
	MOV = op("mov",
		"m/r, .r | MR LEG 89 | -",
		"r, m | RM LEG 8B | -",
		"m8, r8 | MR LEG 88 | -",
		"m16, r16 | MR LEG.66 89 | -",
		"r64/m64, i32 | MI LEG.W1 C7 /0 | -",
		"r32, i32 | OI LEG B8 | -",
		"m32, i32 | MI LEG C7 /0 | -",
		"r64, i64 | OI LEG.W1 B8 | -")
	MOVZX = op("movzx", "r, r8/m8 | RM LEG.0F B6 | -", "r, r16/m16 | RM LEG.0F B7 | -")
	MOVSX = op("movsx", "r, r8/m8 | RM LEG.0F BE | -", "r, r16/m16 | RM LEG.0F BF | -")
	// MOVSXD widens the low half of a register.
	MOVSXD = op("movsxd", "r64, r32/m32 | RM LEG.W1 63 | -")
	LEA    = op("lea", "r, m | RM LEG 8D | -")

	ADD  = op("add", "+m/r, r | MR LEG 01 | -", "+r, m | RM LEG 03 | -", "+r/m, i8s | MI LEG 83 /0 | -", "+r/m, i32 | MI LEG 81 /0 | -")
	OR   = op("or", "+m/r, r | MR LEG 09 | -", "+r, m | RM LEG 0B | -", "+r/m, i8s | MI LEG 83 /1 | -", "+r/m, i32 | MI LEG 81 /1 | -")
	AND  = op("and", "+m/r, r | MR LEG 21 | -", "+r, m | RM LEG 23 | -", "+r/m, i8s | MI LEG 83 /4 | -", "+r/m, i32 | MI LEG 81 /4 | -")
	SUB  = op("sub", "+m/r, r | MR LEG 29 {self} | -", "+r, m | RM LEG 2B | -", "+r/m, i8s | MI LEG 83 /5 | -", "+r/m, i32 | MI LEG 81 /5 | -")
	XOR  = op("xor", "+m/r, r | MR LEG 31 {self} | -", "+r, m | RM LEG 33 | -", "+r/m, i8s | MI LEG 83 /6 | -", "+r/m, i32 | MI LEG 81 /6 | -")
	CMP  = op("cmp", ".m/r, r | MR LEG 39 | -", ".r, m | RM LEG 3B | -", ".r/m, i8s | MI LEG 83 /7 | -", ".r/m, i32 | MI LEG 81 /7 | -")
	TEST = op("test", ".r/m, r | MR LEG 85 | -", ".r/m, i32 | MI LEG F7 /0 | -")
	INC  = op("inc", "+r/m | M LEG FF /0 | -")
	DEC  = op("dec", "+r/m | M LEG FF /1 | -")
	NOT  = op("not", "+r/m | M LEG F7 /2 | -")
	NEG  = op("neg", "+r/m | M LEG F7 /3 | -")
	IMUL = op("imul",
		"+r, r/m | RM LEG.0F AF | -",
		"r, r/m, i8s | RMI LEG 6B | -",
		"r, r/m, i32 | RMI LEG 69 | -")
	// CQO spreads the sign of RAX over RDX, CDQ that of EAX over EDX: what IDIV divides.
	CQO  = op("cqo", " | - LEG.W1 99 <rax >rdx | -")
	CDQ  = op("cdq", " | - LEG 99 <rax >rdx | -")
	IDIV = op("idiv", ".r/m | M LEG F7 /7 <rax,rdx >rax,rdx | -")
	DIV  = op("div", ".r/m | M LEG F7 /6 <rax,rdx >rax,rdx | -")
	MUL  = op("mul", ".r/m | M LEG F7 /4 <rax >rax,rdx | -")
	MULX = op("mulx", "r32, =r32, r32/m32 | RVM VEX.F2.0F38.W0 F6 <rdx | v3", "r64, =r64, r64/m64 | RVM VEX.F2.0F38.W1 F6 <rdx | v3")
	SHL  = op("shl", "+r/m, i8 | MI LEG C1 /4 | -")
	SHR  = op("shr", "+r/m, i8 | MI LEG C1 /5 | -")
	SAR  = op("sar", "+r/m, i8 | MI LEG C1 /7 | -")

	POPCNT = op("popcnt", "r, r/m | RM LEG.F3.0F B8 | v3")
	TZCNT  = op("tzcnt", "r, r/m | RM LEG.F3.0F BC | v3")
	LZCNT  = op("lzcnt", "r, r/m | RM LEG.F3.0F BD | v3")
	SHLX   = op("shlx", "r32, r32/m32, r32 | RMV VEX.66.0F38.W0 F7 | v3", "r64, r64/m64, r64 | RMV VEX.66.0F38.W1 F7 | v3")
	SHRX   = op("shrx", "r32, r32/m32, r32 | RMV VEX.F2.0F38.W0 F7 | v3", "r64, r64/m64, r64 | RMV VEX.F2.0F38.W1 F7 | v3")
	SARX   = op("sarx", "r32, r32/m32, r32 | RMV VEX.F3.0F38.W0 F7 | v3", "r64, r64/m64, r64 | RMV VEX.F3.0F38.W1 F7 | v3")
	BEXTR  = op("bextr", "r32, r32/m32, r32 | RMV VEX.NP.0F38.W0 F7 | v3", "r64, r64/m64, r64 | RMV VEX.NP.0F38.W1 F7 | v3")
	BZHI   = op("bzhi", "r32, r32/m32, r32 | RMV VEX.NP.0F38.W0 F5 | v3", "r64, r64/m64, r64 | RMV VEX.NP.0F38.W1 F5 | v3")
	PEXT   = op("pext", "r32, r32, r32/m32 | RVM VEX.F3.0F38.W0 F5 | v3", "r64, r64, r64/m64 | RVM VEX.F3.0F38.W1 F5 | v3")
	PDEP   = op("pdep", "r32, r32, r32/m32 | RVM VEX.F2.0F38.W0 F5 | v3", "r64, r64, r64/m64 | RVM VEX.F2.0F38.W1 F5 | v3")
	ANDN   = op("andn", "r32, r32, r32/m32 | RVM VEX.NP.0F38.W0 F2 | v3", "r64, r64, r64/m64 | RVM VEX.NP.0F38.W1 F2 | v3")
	BLSR   = op("blsr", "r32, r32/m32 | VM VEX.NP.0F38.W0 F3 /1 | v3", "r64, r64/m64 | VM VEX.NP.0F38.W1 F3 /1 | v3")

	JMP = op("jmp", "rel8 | D LEG EB | -", "rel32 | D LEG E9 | -")
	JB  = jump("jb", "2")
	JAE = jump("jae", "3")
	JE  = jump("je", "4")
	JNE = jump("jne", "5")
	JBE = jump("jbe", "6")
	JA  = jump("ja", "7")
	JS  = jump("js", "8")
	JNS = jump("jns", "9")
	JP  = jump("jp", "A")
	JNP = jump("jnp", "B")
	JL  = jump("jl", "C")
	JGE = jump("jge", "D")
	JLE = jump("jle", "E")
	JG  = jump("jg", "F")
	RET = op("ret", " | - LEG C3 | -")

	CMOVB  = op("cmovb", "+r, r/m | RM LEG.0F 42 | -")
	CMOVAE = op("cmovae", "+r, r/m | RM LEG.0F 43 | -")
	CMOVE  = op("cmove", "+r, r/m | RM LEG.0F 44 | -")
	CMOVNE = op("cmovne", "+r, r/m | RM LEG.0F 45 | -")
	CMOVBE = op("cmovbe", "+r, r/m | RM LEG.0F 46 | -")
	CMOVA  = op("cmova", "+r, r/m | RM LEG.0F 47 | -")
	CMOVL  = op("cmovl", "+r, r/m | RM LEG.0F 4C | -")
	CMOVGE = op("cmovge", "+r, r/m | RM LEG.0F 4D | -")
	CMOVLE = op("cmovle", "+r, r/m | RM LEG.0F 4E | -")
	CMOVG  = op("cmovg", "+r, r/m | RM LEG.0F 4F | -")

	SETB  = op("setb", "+r8/m8 | M LEG.0F 92 /0 | -")
	SETAE = op("setae", "+r8/m8 | M LEG.0F 93 /0 | -")
	SETE  = op("sete", "+r8/m8 | M LEG.0F 94 /0 | -")
	SETNE = op("setne", "+r8/m8 | M LEG.0F 95 /0 | -")
	SETBE = op("setbe", "+r8/m8 | M LEG.0F 96 /0 | -")
	SETA  = op("seta", "+r8/m8 | M LEG.0F 97 /0 | -")
	SETL  = op("setl", "+r8/m8 | M LEG.0F 9C /0 | -")
	SETGE = op("setge", "+r8/m8 | M LEG.0F 9D /0 | -")
	SETLE = op("setle", "+r8/m8 | M LEG.0F 9E /0 | -")
	SETG  = op("setg", "+r8/m8 | M LEG.0F 9F /0 | -")

	PREFETCHNTA = op("prefetchnta", ".m8 | M LEG.0F 18 /0 | -")
	PREFETCHT0  = op("prefetcht0", ".m8 | M LEG.0F 18 /1 | -")
	PREFETCHT1  = op("prefetcht1", ".m8 | M LEG.0F 18 /2 | -")
	PREFETCHT2  = op("prefetcht2", ".m8 | M LEG.0F 18 /3 | -")
	// PREFETCHW fetches a line to be written.
	PREFETCHW = op("prefetchw", ".m8 | M LEG.0F 0D /1 | v3")
	// UD2 always faults.
	UD2        = op("ud2", " | - LEG.0F 0B | -")
	VZEROUPPER = op("vzeroupper", " | - VEX.NP.0F 77 | v3")
)

func jump(name, condition string) *Op {
	return op(name, "rel8 | D LEG 7"+condition+" | -", "rel32 | D LEG.0F 8"+condition+" | -")
}
