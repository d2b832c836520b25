package onnx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

func TestExplore(t *testing.T) {
	dir := os.Getenv("PITOPT_SUITE")
	unknown := map[string]int{}
	errs := []string{}
	n, ok := 0, 0
	filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err != nil || !strings.HasSuffix(p, ".onnx") {
			return nil
		}
		n++
		func() {
			defer func() {
				if r := recover(); r != nil {
					errs = append(errs, fmt.Sprintf("PANIC %s: %v", p, r))
				}
			}()
			f, err := wire.Open(p, wire.Limits{})
			if err != nil {
				errs = append(errs, err.Error())
				return
			}
			defer f.Close()
			m, _, err := Import(f)
			if err != nil {
				var e *diag.Error
				errors.As(err, &e)
				errs = append(errs, fmt.Sprintf("%d %v", e.Code, err))
				return
			}
			u := Unsupported(m)
			for _, s := range u {
				unknown[fmt.Sprintf("%s-%d", s.Op.Name, s.Op.Since[0])]++
			}
			if len(u) == 0 {
				ok++
			}
			if err := ir.Verify(m); err != nil {
				errs = append(errs, "VERIFY "+p+": "+err.Error())
			}
		}()
		return nil
	})
	for _, e := range errs {
		fmt.Println(strings.ReplaceAll(e, dir, ""))
	}
	var k []string
	for u, c := range unknown {
		k = append(k, fmt.Sprintf("%s:%d", u, c))
	}
	sort.Strings(k)
	fmt.Println(n, "models", ok, "fully", len(errs), "errors; unknown:", k)
}
