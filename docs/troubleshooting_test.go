package docs_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// said is what the program can say: its string literals, put together where they are
// joined by +. A regular expression has .+ where a value stands.
type said struct {
	texts    []string
	patterns []*regexp.Regexp
}

// TestLogLinesOfTroubleshootingAreTheProgramsOwn looks up each line that the page
// quotes, piece by piece between its dots.
func TestLogLinesOfTroubleshootingAreTheProgramsOwn(t *testing.T) {
	program := whatTheProgramSays(t)
	quoted := 0
	for _, block := range fence.FindAllStringSubmatch(read(t, "docs/troubleshooting.md"), -1) {
		if block[1] != "text log" {
			continue
		}
		for line := range strings.SplitSeq(strings.TrimSpace(block[2]), "\n") {
			quoted++
			if !program.has(line) {
				t.Errorf("docs/troubleshooting.md quotes a line that the program cannot print: %s", line)
			}
		}
	}
	if quoted == 0 {
		t.Error("docs/troubleshooting.md quotes no line")
	}
}

// TestEveryFaultOfTheRelayIsInTroubleshooting: whoever finds a fault in the log finds
// it on the page.
func TestEveryFaultOfTheRelayIsInTroubleshooting(t *testing.T) {
	page, faults := read(t, "docs/troubleshooting.md"), 0
	for _, name := range files(t, ".go") {
		if !strings.HasPrefix(name, "relay/engine/") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(parse(t, name), func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !regexp.MustCompile(`^fault[A-Z]`).MatchString(spec.Names[0].Name) || len(spec.Values) != 1 {
				return true
			}
			if text, whole := literal(spec.Values[0]); whole && text != "" {
				faults++
				if !strings.Contains(page, "\n"+text+"\n") {
					t.Errorf("docs/troubleshooting.md does not have the line %q", text)
				}
			}
			return true
		})
	}
	if faults < 10 {
		t.Errorf("found only %d faults: has their form changed?", faults)
	}
}

func whatTheProgramSays(t *testing.T) said {
	t.Helper()
	var s said
	for _, name := range files(t, ".go") {
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "e2e/") {
			continue
		}
		ast.Inspect(parse(t, name), func(n ast.Node) bool {
			expr, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, isText := literal(expr)
			if isText {
				s.add(text)
			}
			return !isText
		})
	}
	return s
}

// verb is one of fmt's.
var verb = regexp.MustCompile(`%(\[\d+\])?[-+# 0]*[a-z]`)

const hole = "\x00"

func (s *said) add(text string) {
	s.texts = append(s.texts, text)
	template := verb.ReplaceAllString(text, hole)
	parts, longest := strings.Split(template, hole), 0
	for i := range parts {
		longest = max(longest, len(parts[i]))
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	if len(parts) == 1 || longest < 10 || !utf8.ValidString(text) {
		return // it has no hole, or says too little
	}
	s.patterns = append(s.patterns, regexp.MustCompile("^"+strings.Join(parts, ".+")+"$"))
}

// has looks for a quoted line: the line as a whole, or each piece of it between dots.
func (s *said) has(line string) bool {
	for _, p := range s.patterns {
		if p.MatchString(line) {
			return true
		}
	}
	for piece := range strings.SplitSeq(line, "…") {
		if piece = strings.TrimSpace(piece); len(piece) > 1 && !s.contains(piece) {
			return false
		}
	}
	return true
}

func (s *said) contains(piece string) bool {
	for _, text := range s.texts {
		if strings.Contains(text, piece) {
			return true
		}
	}
	return false
}

// literal is a string literal, or a sum with one in it, in which every other term is a
// hole.
func literal(e ast.Expr) (text string, isText bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			return "", false
		}
		left, isLeft := literal(e.X)
		right, isRight := literal(e.Y)
		if !isLeft && !isRight {
			return "", false
		}
		if !isLeft {
			left = hole
		}
		if !isRight {
			right = hole
		}
		return left + right, true
	}
	return "", false
}
