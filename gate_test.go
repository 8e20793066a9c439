package fulloncache_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

// source is the code of a package, tests apart.
type source struct{ code, tests []*ast.File }

func parseFolder(t *testing.T, folder string) (s source) {
	t.Helper()
	fset := token.NewFileSet()
	names, err := fs.Glob(os.DirFS(folder), "*.go")
	must(t, err)
	for _, name := range names {
		f, err := parser.ParseFile(fset, folder+"/"+name, nil, parser.ParseComments|parser.SkipObjectResolution)
		must(t, err)
		if strings.HasSuffix(name, "_test.go") {
			s.tests = append(s.tests, f)
		} else {
			s.code = append(s.code, f)
		}
	}
	return s
}

// receiver is the name of a method's type, or "".
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	at := f.Recv.List[0].Type
	if star, ok := at.(*ast.StarExpr); ok {
		at = star.X
	}
	if index, ok := at.(*ast.IndexExpr); ok {
		at = index.X
	}
	return at.(*ast.Ident).Name
}

// doesIO reports whether a function is exported and takes a context: all that talk to
// a server do.
func doesIO(f *ast.FuncDecl) bool {
	if !f.Name.IsExported() || f.Recv != nil && !ast.IsExported(receiver(f)) || len(f.Type.Params.List) == 0 {
		return false
	}
	s, ok := f.Type.Params.List[0].Type.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "Context"
}

// fields are the fields of a struct of caches or repositories, by the names of their
// types.
func fields(of reflect.Type) map[string]string {
	names := make(map[string]string)
	for f := range of.Fields() {
		if f.IsExported() && f.Type.Kind() == reflect.Pointer {
			names[f.Type.Elem().Name()] = f.Name
		}
	}
	return names
}

// Everything exported that talks to a server is called in an Example whose output is
// checked.
func TestAllIOHasAnExample(t *testing.T) {
	t.Parallel()
	for folder, holder := range map[string]reflect.Type{
		".": reflect.TypeFor[fulloncache.Client](), "orm": reflect.TypeFor[orm.DB](), "embedded": nil,
	} {
		s := parseFolder(t, folder)
		called := make(map[string]bool)
		for _, f := range s.tests {
			for _, d := range f.Decls {
				e, ok := d.(*ast.FuncDecl)
				if !ok || !strings.HasPrefix(e.Name.Name, "Example") || !hasOutput(f, e) {
					continue
				}
				ast.Inspect(e, func(n ast.Node) bool {
					if sel, ok := n.(*ast.SelectorExpr); ok {
						called[sel.Sel.Name] = true
						if of, ok := sel.X.(*ast.SelectorExpr); ok {
							called[of.Sel.Name+"."+sel.Sel.Name] = true
						}
					}
					return true
				})
			}
		}
		var of map[string]string
		if holder != nil {
			of = fields(holder)
		}
		n := 0
		for _, f := range s.code {
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || !doesIO(fn) {
					continue
				}
				n++
				name := fn.Name.Name
				if field := of[receiver(fn)]; field != "" {
					name = field + "." + name
				}
				if !called[name] {
					t.Errorf("%s: no Example with output calls %s of %q", folder, name, receiver(fn))
				}
			}
		}
		if n == 0 {
			t.Errorf("%s: nothing talks to a server", folder)
		}
	}
}

// hasOutput reports whether an Example says what it prints: go test runs no other.
func hasOutput(f *ast.File, e *ast.FuncDecl) bool {
	return slices.ContainsFunc(f.Comments, func(c *ast.CommentGroup) bool {
		return e.Pos() < c.Pos() && c.End() < e.End() && regexp.MustCompile(`(?i)^\s*(unordered )?output:`).MatchString(c.Text())
	})
}

// Every exported identifier is documented.
func TestEverythingIsDocumented(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{".", "docs", "embedded", "examples", "logging", "metrics", "orm"} {
		documented := false
		for _, f := range parseFolder(t, folder).code {
			documented = documented || f.Doc.Text() != ""
			for _, d := range f.Decls {
				undocumented(d, func(name string) { t.Errorf("%s: %s has no comment", folder, name) })
			}
		}
		if !documented {
			t.Errorf("%s: the package has no comment", folder)
		}
	}
}

func undocumented(d ast.Decl, tell func(string)) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) && d.Doc.Text() == "" {
			tell(d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc.Text() == "" && d.Doc.Text() == "" {
					tell(s.Name.Name)
				}
			case *ast.ValueSpec:
				if s.Names[0].IsExported() && s.Doc.Text() == "" && s.Comment.Text() == "" && d.Doc.Text() == "" {
					tell(s.Names[0].Name)
				}
			}
		}
	}
}

// What the guides say of methods is there: the migration guide names them in tables,
// which nobody compiles.
func TestGuidesNameWhatIsThere(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/migration.md")
	must(t, err)
	client := reflect.TypeFor[*fulloncache.Client]()
	n := 0
	for _, m := range regexp.MustCompile(`\b([A-Z][A-Za-z]+)\.([A-Z][A-Za-z]+)\b`).FindAllStringSubmatch(string(text), -1) {
		of := map[string]reflect.Type{
			"Client": client, "Lease": reflect.TypeFor[*fulloncache.Lease](), "ProcessHandle": reflect.TypeFor[*fulloncache.ProcessHandle](),
		}[m[1]]
		if f, ok := client.Elem().FieldByName(m[1]); ok {
			of = f.Type
		}
		if of == nil {
			t.Errorf("there is no %s", m[0])
			continue
		}
		if _, ok := of.MethodByName(m[2]); !ok {
			t.Errorf("there is no %s", m[0])
		}
		n++
	}
	if n < 50 {
		t.Errorf("the guide names %d methods", n)
	}
}

// The badges of the README are true: the gate of make cover wants 100 % of the
// statements, and go.mod names the version of Go.
func TestBadges(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(name)
		must(t, err)
		return string(text)
	}
	goVersion := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindStringSubmatch(read("go.mod"))[1]
	for _, b := range []struct{ name, value, in, says string }{
		{"coverage", "100 %", "Makefile", "covergate -cap="},
		{"go", goVersion, "README.md", "Go " + goVersion},
		{"redis", "7.0 or later", "README.md", "Redis 7.0 or later"},
		{"licence", "MIT", "LICENSE", "MIT License"},
	} {
		if !strings.Contains(read("docs/images/"+b.name+".svg"), ">"+b.value+"<") || !strings.Contains(read("README.md"), "docs/images/"+b.name+".svg") {
			t.Errorf("the badge %s does not say %q", b.name, b.value)
		}
		if !strings.Contains(read(b.in), b.says) {
			t.Errorf("%s does not say %q", b.in, b.says)
		}
	}
}
