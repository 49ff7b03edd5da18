package routing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
)

// What one expression may cost for one event. An expression that looks at a
// dozen fields costs under 50; the bound lets it walk a list of thousands, and
// stops it within some 30 ms however an event is shaped, or a few matches of a
// regular expression over the event's longest text.
const maxCost = 200_000

// The wall clock's backstop behind maxCost, for a machine that stands still.
const maxEval = time.Second

// How many steps of a loop an expression takes between looks at the clock.
const stepsPerLook = 100

// The longest expression in characters.
const maxExpression = 8192

// condition is a compiled `when`; nil is always true.
type condition struct{ program cel.Program }

// newEnvironment declares what an expression may name.
func newEnvironment() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("id", cel.StringType),
		cel.Variable("source", cel.StringType),
		cel.Variable("type", cel.StringType),
		cel.Variable("subject", cel.StringType),
		cel.Variable("time", cel.TimestampType),
		cel.Variable("data", cel.DynType),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.RegexProgramSizeLimit(1000),
		cel.ExtendedValidations(),
	)
}

// compileWhen compiles a `when`. The error names line and column.
func compileWhen(env *cel.Env, source string) (*condition, error) {
	if source == "" {
		return nil, nil
	}
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, describeIssues(issues)
	}
	if out := checked.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("gives a value of type %s; write a comparison, which is true or false", cel.FormatCELType(out))
	}
	if err := checkPatterns(checked.NativeRep()); err != nil {
		return nil, err
	}
	program, err := env.Program(checked,
		cel.EvalOptions(cel.OptOptimize),
		cel.CostLimit(maxCost),
		cel.InterruptCheckFrequency(stepsPerLook),
	)
	if err != nil {
		return nil, fmt.Errorf("could not be planned: %w", err)
	}
	return &condition{program: program}, nil
}

// checkPatterns refuses regular expressions that an event would bring: a match
// is linear in text and pattern, but cannot be interrupted, and small patterns
// may stand for large programs.
func checkPatterns(checked *ast.AST) error {
	for _, call := range ast.MatchDescendants(ast.NavigateAST(checked), ast.FunctionMatcher(overloads.Matches)) {
		args := call.AsCall().Args()
		pattern := args[len(args)-1]
		if pattern.Kind() == ast.LiteralKind {
			continue
		}
		at := checked.SourceInfo().GetStartLocation(pattern.ID())
		return fmt.Errorf("line %d, column %d: matches wants its pattern in quotes, not from the event", at.Line(), at.Column()+1)
	}
	return nil
}

// describeIssues puts every fault of an expression on one line.
func describeIssues(issues *cel.Issues) error {
	var all []string
	for _, e := range issues.Errors() {
		message, _, _ := strings.Cut(e.Message, " expecting {") // a list of the whole grammar
		if e.Location.Line() > 0 {                              // a fault of the whole has no place
			message = fmt.Sprintf("line %d, column %d: %s", e.Location.Line(), e.Location.Column()+1, message)
		}
		all = append(all, message)
	}
	return errors.New(strings.Join(all, "; "))
}

// holds reports whether e meets the condition. A field that the event lacks
// means that it does not.
func (c *condition) holds(e *event) (bool, error) {
	if c == nil {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxEval)
	defer cancel()
	out, _, err := c.program.ContextEval(ctx, e)
	switch {
	case e.err != nil:
		return false, fmt.Errorf("the event's data %w", e.err)
	case err != nil && isMissing(err):
		return false, nil
	case err != nil:
		return false, describeEval(err)
	}
	matched, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("gave a value of type %s, not true or false", out.Type().TypeName())
	}
	return matched, nil
}

// isMissing reports whether an evaluation failed for something that the event
// does not have: a field, a field of null, or an element past a list's end.
// The library tells these apart from other failures by their words alone.
func isMissing(err error) bool {
	for _, words := range []string{"no such key", "no such attribute", "index out of bounds"} {
		if strings.HasPrefix(err.Error(), words) {
			return true
		}
	}
	return false
}

// describeEval keeps the kind of a failure and drops what the library quotes,
// which are values of the event.
func describeEval(err error) error {
	kind := err.Error()
	if quote := strings.IndexAny(kind, "\"`"); quote >= 0 {
		kind = strings.TrimRight(kind[:quote], ": ")
	}
	return fmt.Errorf("could not be evaluated for this event: %s", kind)
}
