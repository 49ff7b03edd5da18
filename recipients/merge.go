package recipients

import (
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/notice"
)

// merge is the profile that a JSON merge patch makes of p, which it leaves as
// it is.
func merge(p *Profile, patch map[string]any) (*Profile, error) {
	before, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("merge a patch: %w", err)
	}
	var document any
	if err := json.Unmarshal(before, &document); err != nil {
		return nil, fmt.Errorf("merge a patch: %w", err)
	}
	after, err := json.Marshal(mergePatch(document, patch))
	if err != nil {
		return nil, fmt.Errorf("merge a patch: %w", err)
	}
	merged := &Profile{}
	return merged, notice.Decode(after, merged)
}

// mergePatch is MergePatch of RFC 7396 §2: null removes a member, an object is
// merged into, anything else replaces.
func mergePatch(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result, ok := target.(map[string]any)
	if !ok {
		result = map[string]any{}
	}
	for name, value := range changes {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = mergePatch(result[name], value)
		}
	}
	return result
}
