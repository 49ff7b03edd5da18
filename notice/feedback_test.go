package notice_test

import (
	"strings"
	"testing"

	"github.com/carillonhq/carillon/notice"
)

func TestTheWordsOfAServerAreKeptWithoutAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"550 5.1.1 <ada@example.com>: User\r\n unknown": "550 5.1.1 [address] User unknown",
		"see https://x.example/?a=ada%40example.com":    "see [address]",
		"over\tquota\x00\x7f":                           "over quota",
		"\xff":                                          "?",
		"":                                              "",
	} {
		if got := notice.ScrubMail(in); got != want {
			t.Errorf("ScrubMail(%q) = %q, want %q", in, got, want)
		}
	}
	if got := notice.ScrubMail(strings.Repeat("word ", 1000)); len(got) > 120 {
		t.Errorf("%d bytes are kept", len(got))
	}
}

func TestAMessageIDNamesItsDelivery(t *testing.T) {
	for in, want := range map[string]string{
		"<0-06h0fb55798unvn7agmd-1@acme.example>":  "0-06h0fb55798unvn7agmd-1",
		" 0-06h0fb55798unvn7agmd-1@acme.example\r": "0-06h0fb55798unvn7agmd-1",
		"<0-06h0fb55798unvn7agmd@acme.example>":    "",
		"<0101018f@eu-central-1.amazonses.com>":    "",
		"":                                         "",
	} {
		if got := notice.DeliveryOfMessageID(in); got != want {
			t.Errorf("DeliveryOfMessageID(%q) = %q, want %q", in, got, want)
		}
	}
}
