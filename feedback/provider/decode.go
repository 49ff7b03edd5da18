package provider

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/notice"
)

// decode reads what a provider wrote. Fields that are not known are ignored:
// providers add some without notice. An error names where, and no value.
func decode(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &semantic):
		return notice.Faults{{Pointer: string(semantic.JSONPointer), Detail: "is not of the type that this provider documents"}}
	case errors.As(err, &syntactic):
		return &notice.SyntaxError{Offset: syntactic.ByteOffset, Detail: "is no JSON"}
	}
	return &notice.SyntaxError{Detail: "is no JSON"}
}

// bounceKind is what a bounce means whose provider calls it so: the provider
// knows best, but of a refusal for policy or content, which is no fault of the
// address.
func bounceKind(code string, otherwise notice.FeedbackKind) notice.FeedbackKind {
	if kind := feedback.Classify(code); feedback.Telling(code) && kind == notice.FeedbackBlocked {
		return kind
	}
	return otherwise
}
