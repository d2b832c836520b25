package sym

import (
	"strings"
	"testing"
)

func TestParseDim(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"2*(n+1)", "2*n + 2"},
		{"floor(n/2)", "n // 2"},
		{"ceil(n/2)", "(n + 1) // 2"},
		{"ceiling(n/m)", "ceildiv(n, m)"},
		{"floor(n/2 + 1/2)", "(n + 1) // 2"},
		{"floor(0.5*n + 0.5)", "(n + 1) // 2"},
		{"floor(n/m - 1)", "-ceildiv(m - n, m)"},
		{"FloorToInt(IntTrueDiv(n, 4))", "n // 4"},
		{"CeilToInt(IntTrueDiv(n, 4))", "(n + 3) // 4"},
		{"Max(0, total_seq - Min(past_seq, total_seq))", "max(total_seq - min(past_seq, total_seq), 0)"},
		{"max(n,1)", "max(n, 1)"},
		{"Min(512, seq)", "min(seq, 512)"},
		{"seq + past_seq", "past_seq + seq"},
		{"2*seq*batch", "2*batch*seq"},
		{"((width//16))*((height//16)) + 1", "(height // 16)*(width // 16) + 1"},
		{"((h//16))**2 + 1", "(h // 16)**2 + 1"},
		{"((((((((samples//80)) - 3)//2)) - 1)//2)) + 1", "(samples + 240) // 320 - 1"},
		{"((frames*batch)//batch)", "(batch*frames) // batch"},
		{"s53*s72", "s53*s72"},
		{"past_seq + seq", "past_seq + seq"},
		{"floordiv(a,b)", "a // b"},
		{"FloorDiv(a, b)", "a // b"},
		{"CleanDiv(a, 2)", "a // 2"},
		{"ceildiv(a,b)", "ceildiv(a, b)"},
		{"mod(a,b)", "a % b"},
		{"Mod(a,b)", "a % b"},
		{"PythonMod(a, 3)", "a % 3"},
		{"PowByNatural(a, 2)", "a**2"},
		{"2**3**2", "512"},
		{"-2**2 + 5*n", "5*n - 4"},
		{"4/2", "2"},
		{"(4*n)/2", "2*n"},
		{"10 - 4 - 3 + n*0", "3"},
		{"n - 8 // 4 * 2", "n - 4"},
		{"7 % 4 * 2", "6"},
		{"- - n", "n"},
		{"p2o.DynamicDimension.0", "p2o.DynamicDimension.0"},
		{"Loopy_dim_1", "Loopy_dim_1"},
		{"unk__12", "unk__12"},
		{"min", `"min"`},
		{" n ", "n"},
		// what is one symbol
		{"?", `"?"`},
		{"batch size", `"batch size"`},
		{"n/2", `"n/2"`},
		{"-1", `"-1"`},
		{"n.", `"n."`},
		{"2n", `"2n"`},
		{"n // 0", `"n // 0"`},
		{"f(n)", `"f(n)"`},
		{"floor(n)/2", `"floor(n)/2"`},
		{"max()", `"max()"`},
		{"mod(a)", `"mod(a)"`},
		{"n**m", `"n**m"`},
		{"n**-1", `"n**-1"`},
		{"(n", `"(n"`},
		{"n)", `"n)"`},
		{"größe", `"größe"`},
		{"\xff", `"\xff"`},
		{"1.", `"1."`},
		{"9223372036854775808", `"9223372036854775808"`},
		{"99999999999999999999*n", `"99999999999999999999*n"`},
	} {
		if got := ParseDim(test.in).String(); got != test.want {
			t.Errorf("%s is %s, want %s", test.in, got, test.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", "column 1: unexpected end"},
		{"n +", "column 4: unexpected end"},
		{"n $ m", `column 3: unexpected "$ m"`},
		{"(n + 1", "column 7: missing )"},
		{"min(a b)", "column 7: missing )"},
		{"sin(n)", `there is no function "sin"`},
		{"mod(a)", "mod takes 2 arguments, not 1"},
		{"n / 2", "/ that may leave a remainder; write // or floor()"},
		{"n**m", "exponent is not a constant from 0 to 64"},
		{"n**1000", "exponent is not a constant from 0 to 64"},
		{"9**9**9", "exponent is not a constant from 0 to 64"},
		{"9**64", "overflow"},
		{"n // (m - m)", "division by zero"},
		{`"open`, "unfinished name in quotes"},
		{`""`, `bad name "" in quotes`},
		{"(a + b + c + d)**60", "too large"},
		{"n**64 * n", "too large"},
		{strings.Repeat("(", 20_000), "nested deeper than 200"},
		{strings.Repeat("min(", 10_000), "nested deeper than 200"},
		{strings.Repeat("2**", 10_000) + "1", "nested deeper than 200"},
		{strings.Repeat("n // ", 10_000) + "m", "too large"},
		{strings.Repeat("-", 100_000) + "n", "longer than 65536 bytes"},
	} {
		_, err := Parse(test.in)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.40s: error %v, want %s", test.in, err, test.want)
		}
		if e := ParseDim(test.in); test.in != "" {
			if name, ok := e.Symbol(); !ok || name != test.in {
				t.Errorf("%.40s is no symbol", test.in)
			}
		}
	}
	if e, err := Parse(strings.Repeat("-", 60_000) + "n"); err != nil || !e.Equal(Var("n")) {
		t.Errorf("many signs: %s, %v", e, err)
	}
}
