package vezechat_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each package says once what it is for: a reader of any file knows where to look.
func TestPkgDoc_EachPackageHasOneComment(t *testing.T) {
	t.Parallel()
	for dir, files := range packages(t) {
		var commented []string
		for _, f := range files {
			if f.ast.Doc != nil {
				commented = append(commented, f.path)
			}
		}
		if len(commented) != 1 {
			t.Errorf("package in %s: want one package comment, found %d %v", dir, len(commented), commented)
			continue
		}
		for _, f := range files {
			name := f.ast.Name.Name
			if f.ast.Doc != nil && name != "main" && !strings.HasPrefix(f.ast.Doc.Text(), "Package "+name+" ") {
				t.Errorf("%s: the comment must begin with %q", f.path, "Package "+name)
			}
		}
	}
}

// The root is what other people's programs import: every exported name has a
// sentence that starts with it. Constants and variables may share the sentence of
// their block, or have theirs beside them.
func TestPkgDoc_EachNameAtTheRootIsExplained(t *testing.T) {
	t.Parallel()
	for _, f := range packages(t)["."] {
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if exportedFunc(d) {
					explains(t, f.path, d.Name.Name, d.Doc)
				}
			case *ast.GenDecl:
				checkSpecs(t, f.path, d)
			}
		}
	}
}

func checkSpecs(t *testing.T, path string, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			doc := s.Doc
			if doc == nil && !d.Lparen.IsValid() {
				doc = d.Doc
			}
			if s.Name.IsExported() {
				explains(t, path, s.Name.Name, doc)
			}
			checkMethods(t, path, s)
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if n.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
					t.Errorf("%s: %s has no comment, nor has its block", path, n.Name)
				}
			}
		}
	}
}

// checkMethods holds the methods of interfaces to the same rule as functions.
func checkMethods(t *testing.T, path string, s *ast.TypeSpec) {
	t.Helper()
	i, ok := s.Type.(*ast.InterfaceType)
	if !ok {
		return
	}
	for _, m := range i.Methods.List {
		for _, n := range m.Names {
			if n.IsExported() {
				explains(t, path, n.Name, m.Doc)
			}
		}
	}
}

func explains(t *testing.T, path, name string, doc *ast.CommentGroup) {
	t.Helper()
	if doc == nil || !strings.HasPrefix(doc.Text(), name+" ") {
		t.Errorf("%s: %s needs a doc sentence that starts with %q", path, name, name)
	}
}

// exportedFunc reports whether a function, or a method and its type, is exported.
func exportedFunc(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return d.Name.IsExported()
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported() && d.Name.IsExported()
}

type goFile struct {
	path string
	ast  *ast.File
}

// packages parses the module's packages by directory, without their tests.
func packages(t *testing.T) map[string][]goFile {
	t.Helper()
	found := map[string][]goFile{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && !ours(path, d.Name()) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		found[dir] = append(found[dir], goFile{filepath.ToSlash(path), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// ours reports whether a directory is part of this module's source: not hidden,
// not test data, not another module.
func ours(path, name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "data" && path == "data" {
		return false
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return os.IsNotExist(err)
}
