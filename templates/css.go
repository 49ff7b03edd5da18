package templates

// What `css` of template.yaml says.
const (
	cssInline = "inline" // rules become style attributes, which every reader of mail knows
	cssKeep   = "keep"   // style elements stay as they are
)
