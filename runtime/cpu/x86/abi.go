package x86

// What code gets when it is called; docs/abi.md has the rules.
const (
	ArgBase     = RDI // the argument block
	ScratchBase = RSI // MaxScratch bytes for its own use, aligned to 64
	MaxScratch  = 4096
)
