package x86

// Mask registers.
var (
	KMOVB = op("kmovb", "k, k/m8 | RM VEX.66.0F.W0 90 | v4", "m8, k | MR VEX.66.0F.W0 91 | v4", "k, r32 | RM VEX.66.0F.W0 92 | v4", "r32, k | RM VEX.66.0F.W0 93 | v4")
	KMOVW = op("kmovw", "k, k/m16 | RM VEX.NP.0F.W0 90 | v4", "m16, k | MR VEX.NP.0F.W0 91 | v4", "k, r32 | RM VEX.NP.0F.W0 92 | v4", "r32, k | RM VEX.NP.0F.W0 93 | v4")
	KMOVD = op("kmovd", "k, k/m32 | RM VEX.66.0F.W1 90 | v4", "m32, k | MR VEX.66.0F.W1 91 | v4", "k, r32 | RM VEX.F2.0F.W0 92 | v4", "r32, k | RM VEX.F2.0F.W0 93 | v4")
	KMOVQ = op("kmovq", "k, k/m64 | RM VEX.NP.0F.W1 90 | v4", "m64, k | MR VEX.NP.0F.W1 91 | v4", "k, r64 | RM VEX.F2.0F.W1 92 | v4", "r64, k | RM VEX.F2.0F.W1 93 | v4")

	KANDB, KANDW, KANDD, KANDQ             = masks("kand", "41")
	KANDNB, KANDNW, KANDND, KANDNQ         = masks("kandn", "42")
	KORB, KORW, KORD, KORQ                 = masks("kor", "45")
	KXNORB, KXNORW, KXNORD, KXNORQ         = masks("kxnor", "46 {self}")
	KXORB, KXORW, KXORD, KXORQ             = masks("kxor", "47 {self}")
	KADDB, KADDW, KADDD, KADDQ             = masks("kadd", "4A")
	KNOTB, KNOTW, KNOTD, KNOTQ             = ofMask("knot", "", "44")
	KORTESTB, KORTESTW, KORTESTD, KORTESTQ = ofMask("kortest", ".", "98")
	KTESTB, KTESTW, KTESTD, KTESTQ         = ofMask("ktest", ".", "99")
	KUNPCKBW                               = op("kunpckbw", "k, k, k | RVM VEX.66.0F.W0.L1 4B | v4")
	KUNPCKWD                               = op("kunpckwd", "k, k, k | RVM VEX.NP.0F.W0.L1 4B | v4")
	KUNPCKDQ                               = op("kunpckdq", "k, k, k | RVM VEX.NP.0F.W1.L1 4B | v4")
	KSHIFTLB                               = op("kshiftlb", "k, k, i8 | RMI VEX.66.0F3A.W0 32 | v4")
	KSHIFTLW                               = op("kshiftlw", "k, k, i8 | RMI VEX.66.0F3A.W1 32 | v4")
	KSHIFTLD                               = op("kshiftld", "k, k, i8 | RMI VEX.66.0F3A.W0 33 | v4")
	KSHIFTLQ                               = op("kshiftlq", "k, k, i8 | RMI VEX.66.0F3A.W1 33 | v4")
	KSHIFTRB                               = op("kshiftrb", "k, k, i8 | RMI VEX.66.0F3A.W0 30 | v4")
	KSHIFTRW                               = op("kshiftrw", "k, k, i8 | RMI VEX.66.0F3A.W1 30 | v4")
	KSHIFTRD                               = op("kshiftrd", "k, k, i8 | RMI VEX.66.0F3A.W0 31 | v4")
	KSHIFTRQ                               = op("kshiftrq", "k, k, i8 | RMI VEX.66.0F3A.W1 31 | v4")

	// Between masks and vectors of ones and zeros.
	VPMOVM2B = op("vpmovm2b", "v, k | RM EVEX.F3.0F38.W0 28 | v4")
	VPMOVM2W = op("vpmovm2w", "v, k | RM EVEX.F3.0F38.W1 28 | v4")
	VPMOVM2D = op("vpmovm2d", "v, k | RM EVEX.F3.0F38.W0 38 | v4")
	VPMOVB2M = op("vpmovb2m", "k, v | RM EVEX.F3.0F38.W0 29 | v4")
	VPMOVD2M = op("vpmovd2m", "k, v | RM EVEX.F3.0F38.W0 39 | v4")
)

// masks is an operation of two masks of 8, 16, 32 and 64 bits.
func masks(name, code string) (b, w, d, q *Op) {
	return op(name+"b", "k, k, k | RVM VEX.66.0F.W0.L1 "+code+" | v4"),
		op(name+"w", "k, k, k | RVM VEX.NP.0F.W0.L1 "+code+" | v4"),
		op(name+"d", "k, k, k | RVM VEX.66.0F.W1.L1 "+code+" | v4"),
		op(name+"q", "k, k, k | RVM VEX.NP.0F.W1.L1 "+code+" | v4")
}

// ofMask has no vvvv: it makes a mask of one, or flags of two.
func ofMask(name, access, code string) (b, w, d, q *Op) {
	return op(name+"b", access+"k, k | RM VEX.66.0F.W0 "+code+" | v4"),
		op(name+"w", access+"k, k | RM VEX.NP.0F.W0 "+code+" | v4"),
		op(name+"d", access+"k, k | RM VEX.66.0F.W1 "+code+" | v4"),
		op(name+"q", access+"k, k | RM VEX.NP.0F.W1 "+code+" | v4")
}
