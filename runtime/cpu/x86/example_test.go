package x86_test

import (
	"fmt"

	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// A loop that replaces negative numbers by zero: eight at a time, then what is left. The
// argument block is a count and an address.
func Example() {
	p := x86.NewProg("relu")
	n, at := p.New(x86.GP64), p.New(x86.GP64)
	p.Emit(x86.MOV, n, x86.At(x86.ArgBase, 0)).Note("count")
	p.Emit(x86.MOV, at, x86.At(x86.ArgBase, 8)).Note("address")
	zero := p.New(x86.YMM)
	p.Emit(x86.VXORPS, zero, zero, zero)

	loop, rest, single, done := p.Label("loop"), p.Label("rest"), p.Label("single"), p.Label("done")
	p.Emit(x86.SUB, n, x86.Imm(8))
	p.Emit(x86.JL, rest)
	p.Bind(loop)
	v := p.New(x86.YMM)
	p.Emit(x86.VMAXPS, v, zero, x86.At(at, 0))
	p.Emit(x86.VMOVUPS, x86.At(at, 0), v)
	p.Emit(x86.ADD, at, x86.Imm(32))
	p.Emit(x86.SUB, n, x86.Imm(8))
	p.Emit(x86.JGE, loop)
	p.Bind(rest)
	p.Emit(x86.ADD, n, x86.Imm(8))
	p.Emit(x86.JE, done)
	p.Bind(single)
	x := p.New(x86.XMM)
	p.Emit(x86.VMAXSS, x, zero.As(x86.XMM), x86.At(at, 0))
	p.Emit(x86.VMOVSS, x86.At(at, 0), x)
	p.Emit(x86.ADD, at, x86.Imm(4))
	p.Emit(x86.DEC, n)
	p.Emit(x86.JNE, single)
	p.Bind(done)
	p.Emit(x86.RET)

	code, err := x86.Compile(p, x86.V3)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(code.Listing())
	// Where x86.Usable() has V3, this calls it:
	//
	//	var arena x86.Arena
	//	fs, err := arena.Load(code)
	//	args := struct {
	//		n int64
	//		p unsafe.Pointer
	//	}{int64(len(data)), unsafe.Pointer(&data[0])}
	//	fs[0].Call(unsafe.Pointer(&args))

	// Output:
	// .intel_syntax noprefix
	// # relu: 59 bytes of code, 0 of constants, 0 of scratch
	//     mov rax, qword ptr [rdi]                         # 0000 488b07                count
	//     mov rcx, qword ptr [rdi + 8]                     # 0003 488b4f08              address
	//     vxorps ymm0, ymm0, ymm0                          # 0007 c5fc57c0
	//     sub rax, 8                                       # 000b 4883e808
	//     jl .L1_rest                                      # 000f 7c12
	// .L0_loop:
	//     vmaxps ymm1, ymm0, ymmword ptr [rcx]             # 0011 c5fc5f09
	//     vmovups ymmword ptr [rcx], ymm1                  # 0015 c5fc1109
	//     add rcx, 32                                      # 0019 4883c120
	//     sub rax, 8                                       # 001d 4883e808
	//     jge .L0_loop                                     # 0021 7dee
	// .L1_rest:
	//     add rax, 8                                       # 0023 4883c008
	//     je .L3_done                                      # 0027 7411
	// .L2_single:
	//     vmaxss xmm1, xmm0, dword ptr [rcx]               # 0029 c5fa5f09
	//     vmovss dword ptr [rcx], xmm1                     # 002d c5fa1109
	//     add rcx, 4                                       # 0031 4883c104
	//     dec rax                                          # 0035 48ffc8
	//     jne .L2_single                                   # 0038 75ef
	// .L3_done:
	//     ret                                              # 003a c3
}
