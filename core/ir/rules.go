package ir

import (
	"errors"
	"fmt"

	"github.com/pitopt/pitopt/core/diag"
)

// Rule is one thing that holds of every valid module. Passes and executors rely on it
// without looking; what breaks it is refused by Verify, in an error that names it.
type Rule struct{ Name, Doc string }

// Rules are all rules of the verifier, in the order in which this file has them.
var Rules []*Rule

func rule(name, doc string) *Rule {
	r := &Rule{name, doc}
	Rules = append(Rules, r)
	return r
}

// Of a module.
var (
	ruleComplete = rule("complete", "nothing is missing that must be there: a block, a statement, a value, a type, a tensor, a stage")
	ruleNames    = rule("unique-names", "functions, programs and kernels have names of their own, and so have constants, the named values of a function, and what a caller knows its results by")
	ruleConsts   = rule("constants", "one value stands for a constant, and has the type of the constant's tensor")
	ruleCallees  = rule("callee-in-module", "what is called, and the program that a kernel computes, is in the module")
	ruleRecurse  = rule("no-recursion", "functions do not call themselves, directly or through others")
)

// Of values and their types.
var (
	ruleDefined = rule("one-definition", "a value is defined once, and says where")
	ruleVisible = rule("visible-operands", "an operand is a constant of the module, or defined before its use in the same block or one around it")
	ruleTypes   = rule("types", "element types are ones that there are, dims are expressions without errors and not negative, and what has no rank has no dims")
	ruleSymbols = rule("visible-symbols", "every symbol has a value where it is used: a parameter's type tells it, or that of an earlier result, by a dim that is the symbol or linear in it")
)

// Of statements.
var (
	ruleKind      = rule("statements", "a statement applies an operator, calls, or casts, and has the parts of that and no others")
	ruleOperator  = rule("known-operator", "an operator is one of the module's, a registered one, or a stand-in for one that is not there")
	ruleAttrs     = rule("attributes", "attributes are sorted, no two have one name, and each is declared by the operator and of the kind that it declares")
	ruleSignature = rule("signature", "number and element types of operands, and the number of results, are as the operator declares them")
	ruleRegions   = rule("regions", "a statement has the regions that its operator declares")
	ruleDeduced   = rule("deduced-types", "operands, attributes and regions are ones that the operator has a result for, and no result's type contradicts what follows from them")
	ruleCall      = rule("call-types", "operands and results of a call fit the callee's, under the values that the call gives its symbols")
	ruleCast      = rule("cast-types", "a match_cast asserts a type that its operand may have")
)

// Of memory.
var (
	ruleStorage  = rule("storage", "what programs compute, temporaries of those that are called included, and what control flow gives that its regions compute, alone is placed in storages: each in one that the same block allocates, and that is not known to be too small")
	ruleReuse    = rule("storage-lives", "what lies in a storage is not read once something else is placed there, nor by the stage that places it, unless each of its points is read where it is written over")
	ruleReleased = rule("released-values", "a value is released once, in the block that defines it, and not used after")
)

// Of tensor programs.
var (
	ruleBuffers  = rule("program-buffers", "buffers have names of their own; each result, and each temporary, is written by one stage, before it is read; parameters are not written, and they alone may be part of a larger tensor")
	ruleAxes     = rule("program-axes", "a stage has an axis for each dim of what it writes, of that extent (a scatter: an index); a load has an index for each dim; expressions use axes of their stage")
	rulePSymbols = rule("program-symbols", "a program declares each symbol once, and mentions none that it does not declare")
	ruleScalars  = rule("program-types", "scalar operations and monoids get operands of types that they are defined for, and what is stored has the type of the buffer")
	ruleHints    = rule("program-hints", "a sum alone has hints: each of a buffer that it loads from, once, and what is wanted is a truth value over its spatial axes")
	ruleMonoid   = rule("program-monoid", "a stage has the axes, expressions, indices and results that its kind and monoid call for, and no others")
)

// Broken gives the rule that a module broke, by an error of Verify; nil for other errors.
func Broken(err error) *Rule {
	var v *violation
	if errors.As(err, &v) {
		return v.rule
	}
	return nil
}

// violation is what an error of the verifier wraps.
type violation struct{ rule *Rule }

func (v *violation) Error() string { return "rule " + v.rule.Name }

// broken is an error about a rule.
func broken(r *Rule, format string, args ...any) *diag.Error {
	e := diag.New(diag.Verifier, "%s (rule %s)", fmt.Sprintf(format, args...), r.Name)
	e.Err = &violation{r}
	return e
}
