package x86

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/cpu"
)

// Features is a set of what processors may have.
type Features uint16

const (
	V3          Features = 1 << iota // x86-64-v3: AVX2, FMA, F16C, BMI1, BMI2, LZCNT, POPCNT
	V4                               // x86-64-v4: AVX-512 F, BW, CD, DQ, VL
	VNNI                             // VPDPBUSD and VPDPWSSD on AVX-512
	AVXVNNI                          // the same in AVX2's encoding
	BF16                             // bfloat16 on AVX-512
	VBMI                             // permutations of bytes
	allFeatures = V3 | V4 | VNNI | AVXVNNI | BF16 | VBMI
)

var featureNames = []string{"v3", "v4", "vnni", "avxvnni", "bf16", "vbmi"}

// String is the names of the set, divided by spaces.
func (f Features) String() string {
	var out []string
	for i, n := range featureNames {
		if f&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, " ")
}

// Processor tells what this machine and its system have. Nothing means the portable tier.
func Processor() Features {
	x := &cpu.X86
	var f Features
	// LZCNT has no flag of its own there: all processors with BMI2 have it.
	if x.HasAVX2 && x.HasFMA && x.HasF16C && x.HasBMI1 && x.HasBMI2 && x.HasPOPCNT {
		f |= V3
		if x.HasAVXVNNI {
			f |= AVXVNNI
		}
	}
	if f&V3 != 0 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512CD && x.HasAVX512DQ && x.HasAVX512VL {
		f |= V4
		for has, g := range map[*bool]Features{&x.HasAVX512VNNI: VNNI, &x.HasAVX512BF16: BF16, &x.HasAVX512VBMI: VBMI} {
			if *has {
				f |= g
			}
		}
	}
	return f
}

// Usable is what code may be made for: what the processor has, less what PITOPT_CPU
// (avx2, portable) forbids. Where code can not run it is nothing.
func Usable() (Features, error) {
	f := Processor()
	if !callable {
		f = 0
	}
	switch v := os.Getenv("PITOPT_CPU"); v {
	case "":
	case "avx2":
		f &= V3 | AVXVNNI
	case "portable":
		f = 0
	default:
		return 0, fmt.Errorf("PITOPT_CPU=%s: it can be avx2 or portable; without it the processor decides", v)
	}
	return f, nil
}
