package main

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// part is one page of the reference: a package, or the files of the root package
// that are about one cache.
type part struct {
	name  string   // of the page
	title string   // of the page
	about string   // the sentence below it
	dir   string   // of the package
	main  string   // the type that comes first
	files []string // the root's: names, or what they begin with
}

const generated = "<!-- Generated from the code by make fmt: change the comments there. -->\n"

var parts = []part{
	{"client", "The client", "Client and Config, the errors, hooks, exact numbers, markets.", ".", "Client",
		[]string{"client", "config", "errors", "hooks", "decimal", "market", "blame", "chores", "codec", "store", "feed_source"}},
	{"base", "BaseCache", "How the server is, which keys there are, and the queue of errors of all components.", ".", "BaseCache", []string{"base_", "error_queue"}},
	{"tick", "TickCache", "Live prices: set, read with a maximum age, followed, mirrored, rounded.", ".", "TickCache", []string{"tick"}},
	{"ohlcv", "OHLCVCache", "Bars of every market and timeframe, made of ticks or trades.", ".", "OHLCVCache", []string{"ohlcv", "bar", "timeframe"}},
	{"bot", "BotCache", "The exclusive right to trade a market, and what each bot says of itself.", ".", "BotCache", []string{"bot"}},
	{"orders", "OrdersCache", "Orders as they are now, and queues of those to execute.", ".", "OrdersCache", []string{"order"}},
	{"trades", "TradesCache", "Trades on their way from who sees them to who stores them.", ".", "TradesCache", []string{"trade"}},
	{"account", "AccountCache", "What accounts own: positions, which every fill changes once, and balances.", ".", "AccountCache", []string{"account", "balance", "position"}},
	{"process", "ProcessCache", "The register of the processes of all machines.", ".", "ProcessCache", []string{"process"}},
	{"exchange", "ExchangeCache", "Exchanges of the catalogue, and who has an account where.", ".", "ExchangeCache", []string{"exchange", "user"}},
	{"symbol", "SymbolCache", "How exactly each exchange trades what.", ".", "SymbolCache", []string{"symbol"}},
	{"orm", "Package orm", "The database: repositories on PostgreSQL and SQLite, migrations, change notices.", "orm", "", nil},
	{"embedded", "Package embedded", "A private Redis for demos, tries and tests.", "embedded", "", nil},
	{"logging", "Package logging", "Sets slog up: formats, components, rotation.", "logging", "", nil},
	{"metrics", "Package metrics", "A Prometheus collector over the hooks.", "metrics", "", nil},
}

// apiReference returns the pages, by file.
func apiReference(root string) (map[string]string, error) {
	pages := make(map[string]string)
	var index strings.Builder
	index.WriteString("# API reference\n\nEvery exported identifier, as the code says it: a page for each cache and each package.\n\n" + generated + "\n| page | about |\n| --- | --- |\n")
	packages := make(map[string]*pkg)
	for _, p := range parts {
		k := packages[p.dir]
		if k == nil {
			var err error
			if k, err = load(root, p.dir); err != nil {
				return nil, err
			}
			packages[p.dir] = k
		}
		page, err := k.page(p)
		if err != nil {
			return nil, err
		}
		pages["docs/api_reference/"+p.name+".md"] = page
		fmt.Fprintf(&index, "| [%s](api_reference/%s.md) | %s |\n", p.name, p.name, p.about)
	}
	if err := packages["."].complete(); err != nil {
		return nil, err
	}
	index.WriteString("\n`fulloncache docs api_reference PAGE` prints one.\n")
	pages["docs/api_reference.md"] = index.String()
	return pages, nil
}

// pkg is a package of which pages are made.
type pkg struct {
	fset *token.FileSet
	doc  *doc.Package
}

func load(root, dir string) (*pkg, error) {
	k := &pkg{fset: token.NewFileSet()}
	folder := filepath.Join(root, dir)
	list, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, e := range list {
		if !isSource(e) {
			continue
		}
		f, err := parser.ParseFile(k.fset, filepath.Join(folder, e.Name()), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		if f.Name.Name != "main" {
			files = append(files, f)
		}
	}
	if k.doc, err = doc.NewFromFiles(k.fset, files, path.Join("github.com/fullon/fulloncache", dir)); err != nil {
		return nil, err
	}
	return k, nil
}

func isSource(e fs.DirEntry) bool {
	return !e.IsDir() && strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") && !strings.HasSuffix(e.Name(), "_windows.go")
}

// of reports whether a part of the root package is about a file.
func (p part) of(file string) bool {
	return slices.ContainsFunc(p.files, func(prefix string) bool { return strings.HasPrefix(file, prefix) })
}

func (k *pkg) file(n ast.Node) string { return filepath.Base(k.fset.Position(n.Pos()).Filename) }

// complete returns an error unless each identifier of the root package is on one
// page.
func (k *pkg) complete() error {
	nodes := make(map[string]ast.Node)
	for _, t := range k.doc.Types {
		nodes[t.Name] = t.Decl
	}
	for _, f := range k.doc.Funcs {
		nodes[f.Name] = f.Decl
	}
	for _, v := range append(slices.Clone(k.doc.Consts), k.doc.Vars...) {
		nodes[v.Names[0]] = v.Decl
	}
	for name, n := range nodes {
		file, pages := k.file(n), 0
		for _, p := range parts {
			if p.of(file) {
				pages++
			}
		}
		if pages != 1 {
			return fmt.Errorf("%s, of %s, is on %d pages: see the parts in scripts/reference", name, file, pages)
		}
	}
	return nil
}

// page writes a part.
func (k *pkg) page(p part) (string, error) {
	in := func(n ast.Node) bool { return p.files == nil || p.of(k.file(n)) }
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n%s", p.title, p.about, generated)
	if p.files == nil {
		fmt.Fprintf(&b, "\n```\nimport %q\n```\n\n%s", k.doc.ImportPath, k.text(k.doc.Doc, 2))
	}
	types := slices.Clone(k.doc.Types)
	slices.SortStableFunc(types, func(x, y *doc.Type) int {
		switch p.main {
		case x.Name:
			return -1
		case y.Name:
			return 1
		}
		return 0
	})
	k.values(&b, append(slices.Clone(k.doc.Consts), k.doc.Vars...), in)
	for _, f := range k.doc.Funcs {
		if in(f.Decl) {
			k.function(&b, f)
		}
	}
	for _, t := range types {
		if !in(t.Decl) {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n%s", t.Name, k.code(t.Decl), k.text(t.Doc, 3))
		k.values(&b, append(slices.Clone(t.Consts), t.Vars...), in)
		for _, f := range append(slices.Clone(t.Funcs), t.Methods...) {
			k.function(&b, f)
		}
	}
	return b.String(), nil
}

func (k *pkg) values(b *strings.Builder, list []*doc.Value, in func(ast.Node) bool) {
	for _, v := range list {
		if in(v.Decl) {
			fmt.Fprintf(b, "\n%s\n%s", k.code(v.Decl), k.text(v.Doc, 3))
		}
	}
}

func (k *pkg) function(b *strings.Builder, f *doc.Func) {
	name := f.Name
	if f.Recv != "" {
		name = strings.TrimPrefix(f.Recv, "*") + "." + name
	}
	decl := *f.Decl
	decl.Doc, decl.Body = nil, nil
	fmt.Fprintf(b, "\n### %s\n\n%s\n%s", name, k.code(&decl), k.text(f.Doc, 4))
}

// code prints a declaration without its comment, in a fence that nobody compiles.
func (k *pkg) code(n ast.Node) string {
	if d, ok := n.(*ast.GenDecl); ok {
		bare := *d
		bare.Doc = nil
		n = &bare
	}
	var b strings.Builder
	b.WriteString("```\n")
	config := printer.Config{Mode: printer.UseSpaces | printer.TabIndent, Tabwidth: 4}
	if err := config.Fprint(&b, k.fset, n); err != nil {
		panic(err) // a builder takes all, and what was parsed can be printed
	}
	return b.String() + "\n```\n"
}

// text is a comment in Markdown.
func (k *pkg) text(doc string, level int) string {
	if doc == "" {
		return ""
	}
	out := &comment.Printer{
		HeadingLevel: level,
		HeadingID:    func(*comment.Heading) string { return "" },
		DocLinkURL:   func(*comment.DocLink) string { return "" },
	}
	return string(out.Markdown(k.doc.Parser().Parse(doc)))
}
