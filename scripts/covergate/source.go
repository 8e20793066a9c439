package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

// source is a file of the library.
type source struct {
	name    string // within the module
	profile string // as coverage profiles call it
	lines   []string
	decls   []decl
	runs    bool // has a function body with a statement, so a profile must know it
}

// decl is where a declaration stands, and its name.
type decl struct {
	name     string
	from, to int // lines
}

// parseSource reads one file.
func parseSource(name string, text []byte) (*source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	s := &source{name: name, lines: strings.Split(string(text), "\n")}
	add := func(name string, n ast.Node) {
		s.decls = append(s.decls, decl{name, fset.Position(n.Pos()).Line, fset.Position(n.End()).Line})
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			add(funcName(d), d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					add(v.Names[0].Name, v)
				}
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			// The compiler's coverage leaves functions named _ out.
			s.runs = s.runs || n.Name.Name != "_" && n.Body != nil && len(n.Body.List) > 0
		case *ast.FuncLit:
			s.runs = s.runs || len(n.Body.List) > 0
		}
		return true
	})
	return s, nil
}

// funcName is Name, Type.Name or (*Type).Name, without type parameters.
func funcName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	t, pointer := f.Recv.List[0].Type, false
	for {
		switch e := t.(type) {
		case *ast.StarExpr:
			t, pointer = e.X, true
		case *ast.ParenExpr:
			t = e.X
		case *ast.IndexExpr:
			t = e.X
		case *ast.IndexListExpr:
			t = e.X
		case *ast.Ident:
			if pointer {
				return "(*" + e.Name + ")." + f.Name.Name
			}
			return e.Name + "." + f.Name.Name
		default:
			return f.Name.Name
		}
	}
}

// declAt names the declaration that a line belongs to.
func (s *source) declAt(line int) string {
	for _, d := range s.decls {
		if d.from <= line && line <= d.to {
			return d.name
		}
	}
	return ""
}

// line returns a line of the file without its indentation.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return strings.TrimSpace(s.lines[n-1])
}

// firstLine returns the number of the line where the statements of a block
// begin: a block opens at its brace, and they often follow on the next line.
func (s *source) firstLine(b block) int {
	for n := b.startLine; n <= b.endLine && n <= len(s.lines); n++ {
		text := s.lines[n-1]
		if n == b.startLine && b.startCol-1 <= len(text) {
			text = strings.TrimPrefix(text[b.startCol-1:], "{")
		}
		if text = strings.TrimSpace(text); text != "" && !strings.HasPrefix(text, "//") {
			return n
		}
	}
	return b.startLine
}
