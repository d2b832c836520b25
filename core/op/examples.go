package op

import _ "embed"

// Examples is a module in the text form: its @main has one call, or a few that differ in
// what matters, of each operator whose meaning is a tensor program. Results have no types
// yet, and symbolic sizes are free. It is what documents and tests show operators on.
//
//go:embed examples.pit
var Examples []byte
