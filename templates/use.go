package templates

import (
	"strconv"
	"text/template/parse"
)

// use is what a part does with a value, and so what the value must be.
type use struct {
	absent bool   // it may be absent or null: it is tested, or has a default
	want   kinds  // what it may be else; 0 for anything
	form   form   // what a string must be
	how    string // ends a fault's "and the template …"
}

// printed is the use of what comes out.
func printed() use {
	return use{want: kindScalar, how: "prints it: read a field of it, or write {{join}}, {{range}} or {{json}}"}
}

// tested is the use of what only decides, or is passed on.
func tested() use { return use{absent: true} }

// computed is the use of a function's argument.
func computed(want kinds, how string) use { return use{want: want, how: how} }

// argument is how a function uses the i-th of its n arguments, the last of
// which may be piped in and is then not among args; outcome is how the call is
// used in turn. A function that is not listed takes anything that is there.
func (w *walker) argument(function string, args []parse.Node, i, n int, outcome use) use {
	last := i == n-1
	switch function {
	case "not", "json":
		return tested()
	case "and":
		if !last {
			return tested()
		}
		return outcome
	case "or", "default":
		outcome.absent = outcome.absent || (function == "or") != last
		return outcome
	case "eq", "ne":
		u := compared(args, i)
		u.absent = true
		return u
	case "lt", "le", "gt", "ge":
		return compared(args, i)
	case "printf":
		return printfArgument(args, i)
	case "t":
		if i == 0 {
			return computed(kindString, "takes it for a message's key")
		}
		return printed()
	}
	return positional(function, i, last)
}

// positional is argument, for functions of which each argument has its kinds.
func positional(function string, i int, last bool) use {
	number := computed(kindInteger, "takes it for a whole number")
	text := computed(kindString, "takes it for a text")
	when := use{want: kindString | kindInteger, form: formTime, how: "takes it for a time"}
	switch function {
	case "upper", "lower", "html", "js", "urlquery", "print", "println", "isolate":
		return printed()
	case "number", "percent":
		if !last {
			return number
		}
		return use{want: kindNumber | kindString, form: formNumber, how: "writes it as a number"}
	case "money":
		if !last {
			return text
		}
		return use{want: kindInteger | kindString, form: formNumber, how: "writes it as money"}
	case "list", "listOr":
		return computed(kindArray, "lists it")
	case "truncate":
		if !last {
			return number
		}
		return printed()
	case "join":
		if !last {
			return text
		}
		return computed(kindArray, "joins it as a list")
	case "date", "dateIn":
		if !last {
			return text
		}
		return when
	case "len":
		return computed(kindString|kindArray|kindObject, "takes its length")
	case "slice":
		if i > 0 {
			return number
		}
		return computed(kindString|kindArray, "takes a slice of it")
	case "index":
		if i > 0 {
			return computed(kindString|kindInteger, "takes it for a key")
		}
		return computed(kindArray|kindObject, "looks something up in it")
	}
	return use{how: "uses it"}
}

// compared is how a comparison uses an argument: what is compared with a
// constant must be of its kind, as there is no order between others.
func compared(args []parse.Node, i int) use {
	u := computed(kindScalar, "compares it")
	for n, other := range args {
		if k := constantKind(other); n != i && k != 0 && k != kindNull {
			if k&kindNumber != 0 {
				k = kindNumber
			}
			return computed(k, "compares it with "+other.String())
		}
	}
	return u
}

// constantKind is what a constant in a template is; 0 for what is none.
func constantKind(n parse.Node) kinds {
	switch n := n.(type) {
	case *parse.StringNode:
		return kindString
	case *parse.BoolNode:
		return kindBool
	case *parse.NilNode:
		return kindNull
	case *parse.NumberNode:
		if n.IsInt {
			return kindInteger
		}
		return kindFraction
	}
	return 0
}

// checkConstant checks an argument that is known before any data.
func (w *walker) checkConstant(f *parse.IdentifierNode, arg parse.Node, u use) {
	if k := constantKind(arg); k != 0 && k != kindNull && u.want != 0 && k&u.want == 0 {
		w.faults.add(w.at(arg), "%s wants %s here, not %s: see the order of its arguments in docs/templates.md", f.Ident, u.want, arg)
	}
}

// wrongCount says what is wrong with calling a function with n arguments; ""
// when nothing is.
func wrongCount(function string, n int) string {
	least, most := argumentCount(function)
	switch {
	case n >= least && n <= most:
		return ""
	case least == most:
		return "wants " + countOf(least) + ", not " + strconv.Itoa(n)
	case n < least:
		return "wants at least " + countOf(least)
	}
	return "wants at most " + countOf(most)
}

func countOf(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return strconv.Itoa(n) + " arguments"
}

// argumentCount is how many arguments a function takes. A test holds it against
// the functions themselves.
func argumentCount(function string) (least, most int) {
	const many = 1 << 20
	switch function {
	case "asset", "not", "len", "upper", "lower", "isolate", "json", "list", "listOr":
		return 1, 1
	case "default", "truncate", "join", "date", "money", "ne", "lt", "le", "gt", "ge":
		return 2, 2
	case "dateIn":
		return 3, 3
	case "number", "percent":
		return 1, 2
	case "slice":
		return 1, 4
	case "and", "or", "index", "printf", "t":
		return 1, many
	case "eq":
		return 2, many
	}
	return 0, many
}
