// Command testrules refuses what no test of this project may do: sleep to wait
// for something (a test polls a condition with a deadline, or moves the fake
// clock), and skip itself (a missing server is a failure).
package main

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// allowed lists the functions that may sleep, "folder/file_test.go:Function",
// each with its reason.
var allowed = map[string]string{
	"internal/lease/fault_test.go:TestFaultMutualExclusion": "faults come at a pace, and a freeze must outlast a lease",
	"internal/lease/fault_test.go:TestFaultFrozenHolder":    "the frozen holder's own clock is real, and must pass the lease's end",
	"trades_fault_test.go:TestTradesFaultsLoseNothing":      "answers must be late for longer than a call waits; a fault is not asked again at once",
}

func main() {
	flag.Parse()
	if err := run(os.DirFS("."), allowed); err != nil {
		fmt.Fprintln(os.Stderr, "testrules:", err)
		os.Exit(1)
	}
}

// run checks all the tests of a tree. An allowance that allows nothing is an
// error too.
func run(tree fs.FS, allowed map[string]string) error {
	var broken []string
	used := map[string]bool{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		found, err := check(name, text)
		if err != nil {
			return err
		}
		for _, f := range found {
			id := name + ":" + f.function
			if _, ok := allowed[id]; ok && f.sleep {
				used[id] = true
				continue
			}
			broken = append(broken, fmt.Sprintf("%s: in %s: %s", f.pos, f.function, f.what))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(allowed)) {
		if !used[id] {
			broken = append(broken, id+" is allowed to sleep and does not: take it off the list")
		}
	}
	if len(broken) > 0 {
		return errors.New(strings.Join(broken, "\n\t"))
	}
	return nil
}

// finding is a breach of a rule.
type finding struct {
	pos      token.Position
	function string
	what     string
	sleep    bool
}

// check looks through one file.
func check(name string, text []byte) ([]finding, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	clock := nameOf(file, "time")
	cases := map[ast.Stmt]bool{} // the conditions of select: there a timer is a timeout
	var found []finding
	for _, decl := range file.Decls {
		function := "a declaration"
		if f, ok := decl.(*ast.FuncDecl); ok {
			function = f.Name.Name
		}
		report := func(n ast.Node, what string, sleep bool) {
			found = append(found, finding{fset.Position(n.Pos()), function, what, sleep})
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CommClause:
				cases[n.Comm] = true
			case *ast.ExprStmt: // <-time.After(d) alone is a sleep by another name
				recv, ok := n.X.(*ast.UnaryExpr)
				if ok && !cases[n] && recv.Op == token.ARROW && calls(recv.X, clock, "After", "Tick") {
					report(n, "waits for nothing but time: poll a condition with a deadline, or use the fake clock", true)
				}
			case *ast.SelectorExpr:
				switch {
				case isSelector(n, clock, "Sleep"):
					report(n, "time.Sleep: poll a condition with a deadline, or use the fake clock", true)
				case slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, n.Sel.Name):
					report(n, n.Sel.Name+": a test that cannot run has failed", false)
				}
			}
			return true
		})
	}
	return found, nil
}

// nameOf returns the name that a file gives to a package it imports, or "".
func nameOf(file *ast.File, pkg string) string {
	for _, spec := range file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != pkg {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(pkg)
	}
	return ""
}

func calls(e ast.Expr, pkg string, names ...string) bool {
	call, ok := e.(*ast.CallExpr)
	return ok && isSelector(call.Fun, pkg, names...)
}

func isSelector(e ast.Expr, pkg string, names ...string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && pkg != "" && id.Name == pkg && slices.Contains(names, sel.Sel.Name)
}
