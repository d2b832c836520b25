package x86

// Loads, stores, arithmetic, logic and comparisons of vectors.
var (
	VMOVUPS    = move("vmovups", "NP.0F.W0", "10", "11")
	VMOVAPS    = move("vmovaps", "NP.0F.W0", "28", "29")
	VMOVUPD    = move("vmovupd", "66.0F.WI1", "10", "11")
	VMOVAPD    = move("vmovapd", "66.0F.WI1", "28", "29")
	VMOVDQU    = op("vmovdqu", "v, v/m | RM VEX.F3.0F 6F | v3", "m/v, v | MR VEX.F3.0F 7F | v3")
	VMOVDQU8   = op("vmovdqu8", "v{z}, v/m | RM EVEX.F2.0F.W0 6F | v4", "m/v{z}, v | MR EVEX.F2.0F.W0 7F | v4")
	VMOVDQU16  = op("vmovdqu16", "v{z}, v/m | RM EVEX.F2.0F.W1 6F | v4", "m/v{z}, v | MR EVEX.F2.0F.W1 7F | v4")
	VMOVDQU32  = op("vmovdqu32", "v{z}, v/m | RM EVEX.F3.0F.W0 6F | v4", "m/v{z}, v | MR EVEX.F3.0F.W0 7F | v4")
	VMOVDQU64  = op("vmovdqu64", "v{z}, v/m | RM EVEX.F3.0F.W1 6F | v4", "m/v{z}, v | MR EVEX.F3.0F.W1 7F | v4")
	VMOVNTPS   = op("vmovntps", "m, v | MR NP.0F.W0 2B | v3 v4")
	VMASKMOVPS = op("vmaskmovps", "v, v, m | RVM VEX.66.0F38.W0 2C | v3", "m, v, v | MVR VEX.66.0F38.W0 2E | v3")
	VMASKMOVPD = op("vmaskmovpd", "v, v, m | RVM VEX.66.0F38.W0 2D | v3", "m, v, v | MVR VEX.66.0F38.W0 2F | v3")
	VPMASKMOVD = op("vpmaskmovd", "v, v, m | RVM VEX.66.0F38.W0 8C | v3", "m, v, v | MVR VEX.66.0F38.W0 8E | v3")
	VPMASKMOVQ = op("vpmaskmovq", "v, v, m | RVM VEX.66.0F38.W1 8C | v3", "m, v, v | MVR VEX.66.0F38.W1 8E | v3")
	VMOVSS     = op("vmovss", "x{z}, m32 | RM F3.0F.W0 10 | v3 v4", "m32{k}, x | MR F3.0F.W0 11 | v3 v4", "x{z}, x, x | RVM F3.0F.W0 10 | v3 v4")
	VMOVSD     = op("vmovsd", "x{z}, m64 | RM F2.0F.WI1 10 | v3 v4", "m64{k}, x | MR F2.0F.WI1 11 | v3 v4", "x{z}, x, x | RVM F2.0F.WI1 10 | v3 v4")
	VMOVD      = op("vmovd", "x, r32/m32 | RM 66.0F.W0 6E | v3 v4", "r32/m32, x | MR 66.0F.W0 7E | v3 v4")
	VMOVQ      = op("vmovq", "x, x/m64 | RM F3.0F.WI1 7E | v3 v4", "m64, x | MR 66.0F.WI1 D6 | v3 v4",
		"x, r64 | RM 66.0F.W1 6E | v3 v4", "r64, x | MR 66.0F.W1 7E | v3 v4")
	VMOVDDUP  = op("vmovddup", "x{z}, x/m64 | RM F2.0F.WI1 12 | v3 v4", "v{z}, v/m | RM F2.0F.WI1 12 256+ | v3 v4")
	VMOVSHDUP = op("vmovshdup", "v{z}, v/m | RM F3.0F.W0 16 | v3 v4")
	VMOVSLDUP = op("vmovsldup", "v{z}, v/m | RM F3.0F.W0 12 | v3 v4")
	VMOVHLPS  = op("vmovhlps", "x, x, x | RVM NP.0F.W0 12 | v3 v4")
	VMOVLHPS  = op("vmovlhps", "x, x, x | RVM NP.0F.W0 16 | v3 v4")

	VBROADCASTSS    = op("vbroadcastss", "v{z}, x/m32 | RM 66.0F38.W0 18 | v3 v4")
	VBROADCASTSD    = op("vbroadcastsd", "v{z}, x/m64 | RM 66.0F38.WI1 19 256+ | v3 v4")
	VBROADCASTF128  = op("vbroadcastf128", "y, m128 | RM VEX.66.0F38.W0 1A | v3")
	VBROADCASTF32X2 = op("vbroadcastf32x2", "v{z}, x/m64 | RM EVEX.66.0F38.W0 19 256+ | v4")
	VBROADCASTF32X4 = op("vbroadcastf32x4", "v{z}, m128 | RM EVEX.66.0F38.W0 1A 256+ | v4")
	VBROADCASTF32X8 = op("vbroadcastf32x8", "v{z}, m256 | RM EVEX.66.0F38.W0 1B 512 | v4")
	VBROADCASTF64X2 = op("vbroadcastf64x2", "v{z}, m128 | RM EVEX.66.0F38.W1 1A 256+ | v4")
	VPBROADCASTB    = op("vpbroadcastb", "v{z}, x/m8 | RM 66.0F38.W0 78 | v3 v4", "v{z}, r32 | RM EVEX.66.0F38.W0 7A | v4")
	VPBROADCASTW    = op("vpbroadcastw", "v{z}, x/m16 | RM 66.0F38.W0 79 | v3 v4", "v{z}, r32 | RM EVEX.66.0F38.W0 7B | v4")
	VPBROADCASTD    = op("vpbroadcastd", "v{z}, x/m32 | RM 66.0F38.W0 58 | v3 v4", "v{z}, r32 | RM EVEX.66.0F38.W0 7C | v4")
	VPBROADCASTQ    = op("vpbroadcastq", "v{z}, x/m64 | RM 66.0F38.WI1 59 | v3 v4", "v{z}, r64 | RM EVEX.66.0F38.W1 7C | v4")

	VGATHERDPS = op("vgatherdps", "+v, vm32v, +v | RMV VEX.66.0F38.W0 92 | v3", "+v{K}, vm32v | RM EVEX.66.0F38.W0 92 | v4")
	VGATHERQPS = op("vgatherqps", "+vh, vm32v, +vh | RMV VEX.66.0F38.W0 93 | v3", "+vh{K}, vm32v | RM EVEX.66.0F38.W0 93 | v4")
	VGATHERDPD = op("vgatherdpd", "+v, vm64h, +v | RMV VEX.66.0F38.W1 92 | v3", "+v{K}, vm64h | RM EVEX.66.0F38.W1 92 | v4")
	VGATHERQPD = op("vgatherqpd", "+v, vm64v, +v | RMV VEX.66.0F38.W1 93 | v3", "+v{K}, vm64v | RM EVEX.66.0F38.W1 93 | v4")
	VPGATHERDD = op("vpgatherdd", "+v, vm32v, +v | RMV VEX.66.0F38.W0 90 | v3", "+v{K}, vm32v | RM EVEX.66.0F38.W0 90 | v4")
	VPGATHERQD = op("vpgatherqd", "+vh, vm32v, +vh | RMV VEX.66.0F38.W0 91 | v3", "+vh{K}, vm32v | RM EVEX.66.0F38.W0 91 | v4")
	VPGATHERDQ = op("vpgatherdq", "+v, vm64h, +v | RMV VEX.66.0F38.W1 90 | v3", "+v{K}, vm64h | RM EVEX.66.0F38.W1 90 | v4")
	VPGATHERQQ = op("vpgatherqq", "+v, vm64v, +v | RMV VEX.66.0F38.W1 91 | v3", "+v{K}, vm64v | RM EVEX.66.0F38.W1 91 | v4")

	VSCATTERDPS = op("vscatterdps", "vm32v{K}, v | MR EVEX.66.0F38.W0 A2 | v4")
	VSCATTERQPS = op("vscatterqps", "vm32v{K}, vh | MR EVEX.66.0F38.W0 A3 | v4")
	VSCATTERDPD = op("vscatterdpd", "vm64h{K}, v | MR EVEX.66.0F38.W1 A2 | v4")
	VSCATTERQPD = op("vscatterqpd", "vm64v{K}, v | MR EVEX.66.0F38.W1 A3 | v4")

	VADDPS, VADDPD, VADDSS, VADDSD                         = arithmetic("vadd", "58")
	VMULPS, VMULPD, VMULSS, VMULSD                         = arithmetic("vmul", "59")
	VSUBPS, VSUBPD, VSUBSS, VSUBSD                         = arithmetic("vsub", "5C")
	VMINPS, VMINPD, VMINSS, VMINSD                         = arithmetic("vmin", "5D")
	VDIVPS, VDIVPD, VDIVSS, VDIVSD                         = arithmetic("vdiv", "5E")
	VMAXPS, VMAXPD, VMAXSS, VMAXSD                         = arithmetic("vmax", "5F")
	VSQRTPS                                                = op("vsqrtps", "v{z}, v/m/b32 | RM NP.0F.W0 51 | v3 v4")
	VSQRTPD                                                = op("vsqrtpd", "v{z}, v/m/b64 | RM 66.0F.WI1 51 | v3 v4")
	VSQRTSS                                                = op("vsqrtss", "x{z}, x, x/m32 | RVM F3.0F.W0 51 | v3 v4")
	VSQRTSD                                                = op("vsqrtsd", "x{z}, x, x/m64 | RVM F2.0F.WI1 51 | v3 v4")
	VRCPPS                                                 = op("vrcpps", "v, v/m | RM VEX.NP.0F 53 | v3")
	VRSQRTPS                                               = op("vrsqrtps", "v, v/m | RM VEX.NP.0F 52 | v3")
	VRCP14PS                                               = op("vrcp14ps", "v{z}, v/m/b32 | RM EVEX.66.0F38.W0 4C | v4")
	VRSQRT14PS                                             = op("vrsqrt14ps", "v{z}, v/m/b32 | RM EVEX.66.0F38.W0 4E | v4")
	VANDPS, VANDPD                                         = logic("vand", "54")
	VANDNPS, VANDNPD                                       = logic("vandn", "55")
	VORPS, VORPD                                           = logic("vor", "56")
	VXORPS, VXORPD                                         = logic("vxor", "57 {self}")
	VFMADD132PS, VFMADD132PD, VFMADD132SS, VFMADD132SD     = fma("vfmadd132", "98", "99")
	VFMADD213PS, VFMADD213PD, VFMADD213SS, VFMADD213SD     = fma("vfmadd213", "A8", "A9")
	VFMADD231PS, VFMADD231PD, VFMADD231SS, VFMADD231SD     = fma("vfmadd231", "B8", "B9")
	VFMSUB132PS, VFMSUB132PD, VFMSUB132SS, VFMSUB132SD     = fma("vfmsub132", "9A", "9B")
	VFMSUB213PS, VFMSUB213PD, VFMSUB213SS, VFMSUB213SD     = fma("vfmsub213", "AA", "AB")
	VFMSUB231PS, VFMSUB231PD, VFMSUB231SS, VFMSUB231SD     = fma("vfmsub231", "BA", "BB")
	VFNMADD132PS, VFNMADD132PD, VFNMADD132SS, VFNMADD132SD = fma("vfnmadd132", "9C", "9D")
	VFNMADD213PS, VFNMADD213PD, VFNMADD213SS, VFNMADD213SD = fma("vfnmadd213", "AC", "AD")
	VFNMADD231PS, VFNMADD231PD, VFNMADD231SS, VFNMADD231SD = fma("vfnmadd231", "BC", "BD")
	VFNMSUB132PS, VFNMSUB132PD, VFNMSUB132SS, VFNMSUB132SD = fma("vfnmsub132", "9E", "9F")
	VFNMSUB213PS, VFNMSUB213PD, VFNMSUB213SS, VFNMSUB213SD = fma("vfnmsub213", "AE", "AF")
	VFNMSUB231PS, VFNMSUB231PD, VFNMSUB231SS, VFNMSUB231SD = fma("vfnmsub231", "BE", "BF")

	VRNDSCALEPS = op("vrndscaleps", "v{z}, v/m/b32, i8 | RMI EVEX.66.0F3A.W0 08 | v4")
	VRNDSCALEPD = op("vrndscalepd", "v{z}, v/m/b64, i8 | RMI EVEX.66.0F3A.W1 09 | v4")
	VRNDSCALESS = op("vrndscaless", "x{z}, x, x/m32, i8 | RVMI EVEX.66.0F3A.W0 0A | v4")
	VRNDSCALESD = op("vrndscalesd", "x{z}, x, x/m64, i8 | RVMI EVEX.66.0F3A.W1 0B | v4")
	VROUNDPS    = op("vroundps", "v, v/m, i8 | RMI VEX.66.0F3A 08 | v3")
	VROUNDPD    = op("vroundpd", "v, v/m, i8 | RMI VEX.66.0F3A 09 | v3")
	VROUNDSS    = op("vroundss", "x, x, x/m32, i8 | RVMI VEX.66.0F3A 0A | v3")
	VROUNDSD    = op("vroundsd", "x, x, x/m64, i8 | RVMI VEX.66.0F3A 0B | v3")
	// VREDUCEPS is what VRNDSCALEPS takes away.
	VREDUCEPS   = op("vreduceps", "v{z}, v/m/b32, i8 | RMI EVEX.66.0F3A.W0 56 | v4")
	VSCALEFPS   = op("vscalefps", "v{z}, v, v/m/b32 | RVM EVEX.66.0F38.W0 2C | v4")
	VSCALEFPD   = op("vscalefpd", "v{z}, v, v/m/b64 | RVM EVEX.66.0F38.W1 2C | v4")
	VSCALEFSS   = op("vscalefss", "x{z}, x, x/m32 | RVM EVEX.66.0F38.W0 2D | v4")
	VSCALEFSD   = op("vscalefsd", "x{z}, x, x/m64 | RVM EVEX.66.0F38.W1 2D | v4")
	VGETEXPPS   = op("vgetexpps", "v{z}, v/m/b32 | RM EVEX.66.0F38.W0 42 | v4")
	VGETEXPPD   = op("vgetexppd", "v{z}, v/m/b64 | RM EVEX.66.0F38.W1 42 | v4")
	VGETMANTPS  = op("vgetmantps", "v{z}, v/m/b32, i8 | RMI EVEX.66.0F3A.W0 26 | v4")
	VGETMANTPD  = op("vgetmantpd", "v{z}, v/m/b64, i8 | RMI EVEX.66.0F3A.W1 26 | v4")
	VFIXUPIMMPS = op("vfixupimmps", "+v{z}, v, v/m/b32, i8 | RVMI EVEX.66.0F3A.W0 54 | v4")
	VFIXUPIMMPD = op("vfixupimmpd", "+v{z}, v, v/m/b64, i8 | RVMI EVEX.66.0F3A.W1 54 | v4")
	VRANGEPS    = op("vrangeps", "v{z}, v, v/m/b32, i8 | RVMI EVEX.66.0F3A.W0 50 | v4")

	// Comparisons make a vector of ones and zeros in AVX2, a mask in AVX-512.
	VCMPPS     = op("vcmpps", "v, v, v/m, i8 | RVMI VEX.NP.0F C2 | v3", "k{c}, v, v/m/b32, i8 | RVMI EVEX.NP.0F.W0 C2 | v4")
	VCMPPD     = op("vcmppd", "v, v, v/m, i8 | RVMI VEX.66.0F C2 | v3", "k{c}, v, v/m/b64, i8 | RVMI EVEX.66.0F.W1 C2 | v4")
	VCMPSS     = op("vcmpss", "x, x, x/m32, i8 | RVMI VEX.F3.0F C2 | v3", "k{c}, x, x/m32, i8 | RVMI EVEX.F3.0F.W0 C2 | v4")
	VCMPSD     = op("vcmpsd", "x, x, x/m64, i8 | RVMI VEX.F2.0F C2 | v3", "k{c}, x, x/m64, i8 | RVMI EVEX.F2.0F.W1 C2 | v4")
	VUCOMISS   = op("vucomiss", ".x, x/m32 | RM NP.0F.W0 2E | v3 v4")
	VUCOMISD   = op("vucomisd", ".x, x/m64 | RM 66.0F.WI1 2E | v3 v4")
	VFPCLASSPS = op("vfpclassps", "k{c}, v/m/b32, i8 | RMI EVEX.66.0F3A.W0 66 | v4")
	VPCMPB     = op("vpcmpb", "k{c}, v, v/m, i8 | RVMI EVEX.66.0F3A.W0 3F | v4")
	VPCMPUB    = op("vpcmpub", "k{c}, v, v/m, i8 | RVMI EVEX.66.0F3A.W0 3E | v4")
	VPCMPW     = op("vpcmpw", "k{c}, v, v/m, i8 | RVMI EVEX.66.0F3A.W1 3F | v4")
	VPCMPUW    = op("vpcmpuw", "k{c}, v, v/m, i8 | RVMI EVEX.66.0F3A.W1 3E | v4")
	VPCMPD     = op("vpcmpd", "k{c}, v, v/m/b32, i8 | RVMI EVEX.66.0F3A.W0 1F | v4")
	VPCMPUD    = op("vpcmpud", "k{c}, v, v/m/b32, i8 | RVMI EVEX.66.0F3A.W0 1E | v4")
	VPCMPQ     = op("vpcmpq", "k{c}, v, v/m/b64, i8 | RVMI EVEX.66.0F3A.W1 1F | v4")
	VPCMPUQ    = op("vpcmpuq", "k{c}, v, v/m/b64, i8 | RVMI EVEX.66.0F3A.W1 1E | v4")
	VPCMPEQB   = op("vpcmpeqb", "v, v, v/m | RVM VEX.66.0F 74 {self} | v3", "k{c}, v, v/m | RVM EVEX.66.0F.W0 74 | v4")
	VPCMPEQW   = op("vpcmpeqw", "v, v, v/m | RVM VEX.66.0F 75 {self} | v3", "k{c}, v, v/m | RVM EVEX.66.0F.W0 75 | v4")
	VPCMPEQD   = op("vpcmpeqd", "v, v, v/m | RVM VEX.66.0F 76 {self} | v3", "k{c}, v, v/m/b32 | RVM EVEX.66.0F.W0 76 | v4")
	VPCMPEQQ   = op("vpcmpeqq", "v, v, v/m | RVM VEX.66.0F38 29 {self} | v3", "k{c}, v, v/m/b64 | RVM EVEX.66.0F38.W1 29 | v4")
	VPCMPGTB   = op("vpcmpgtb", "v, v, v/m | RVM VEX.66.0F 64 | v3", "k{c}, v, v/m | RVM EVEX.66.0F.W0 64 | v4")
	VPCMPGTW   = op("vpcmpgtw", "v, v, v/m | RVM VEX.66.0F 65 | v3", "k{c}, v, v/m | RVM EVEX.66.0F.W0 65 | v4")
	VPCMPGTD   = op("vpcmpgtd", "v, v, v/m | RVM VEX.66.0F 66 | v3", "k{c}, v, v/m/b32 | RVM EVEX.66.0F.W0 66 | v4")
	VPCMPGTQ   = op("vpcmpgtq", "v, v, v/m | RVM VEX.66.0F38 37 | v3", "k{c}, v, v/m/b64 | RVM EVEX.66.0F38.W1 37 | v4")
	VPTESTMD   = op("vptestmd", "k{c}, v, v/m/b32 | RVM EVEX.66.0F38.W0 27 | v4")
	VPTESTNMD  = op("vptestnmd", "k{c}, v, v/m/b32 | RVM EVEX.F3.0F38.W0 27 | v4")
	VPTESTMB   = op("vptestmb", "k{c}, v, v/m | RVM EVEX.66.0F38.W0 26 | v4")
	VPTESTNMB  = op("vptestnmb", "k{c}, v, v/m | RVM EVEX.F3.0F38.W0 26 | v4")
	VPTEST     = op("vptest", ".v, v/m | RM VEX.66.0F38 17 | v3")
	VMOVMSKPS  = op("vmovmskps", "r32, v | RM VEX.NP.0F 50 | v3")
	VMOVMSKPD  = op("vmovmskpd", "r32, v | RM VEX.66.0F 50 | v3")
	VPMOVMSKB  = op("vpmovmskb", "r32, v | RM VEX.66.0F D7 | v3")
)

// move is a load and a store.
func move(name, encoding, load, store string) *Op {
	return op(name, "v{z}, v/m | RM "+encoding+" "+load+" | v3 v4", "m/v{z}, v | MR "+encoding+" "+store+" | v3 v4")
}

// arithmetic is an operation of two operands for vectors and single numbers.
func arithmetic(name, code string) (ps, pd, ss, sd *Op) {
	return op(name+"ps", "v{z}, v, v/m/b32 | RVM NP.0F.W0 "+code+" | v3 v4"),
		op(name+"pd", "v{z}, v, v/m/b64 | RVM 66.0F.WI1 "+code+" | v3 v4"),
		op(name+"ss", "x{z}, x, x/m32 | RVM F3.0F.W0 "+code+" | v3 v4"),
		op(name+"sd", "x{z}, x, x/m64 | RVM F2.0F.WI1 "+code+" | v3 v4")
}

// logic is an operation on bits that is written for floating-point numbers.
func logic(name, code string) (ps, pd *Op) {
	return op(name+"ps", "v{z}, v, v/m/b32 | RVM NP.0F.W0 "+code+" | v3 v4"),
		op(name+"pd", "v{z}, v, v/m/b64 | RVM 66.0F.WI1 "+code+" | v3 v4")
}

// fma is a fused multiply and add. The digits of its name say which operands are multiplied
// and which is added.
func fma(name, vector, scalar string) (ps, pd, ss, sd *Op) {
	return op(name+"ps", "+v{z}, v, v/m/b32 | RVM 66.0F38.W0 "+vector+" | v3 v4"),
		op(name+"pd", "+v{z}, v, v/m/b64 | RVM 66.0F38.W1 "+vector+" | v3 v4"),
		op(name+"ss", "+x{z}, x, x/m32 | RVM 66.0F38.W0 "+scalar+" | v3 v4"),
		op(name+"sd", "+x{z}, x, x/m64 | RVM 66.0F38.W1 "+scalar+" | v3 v4")
}
