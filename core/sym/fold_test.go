package sym

import "testing"

func TestFold(t *testing.T) {
	at := map[string]int64{"n": 7, "m": 3}
	ints := Algebra[int64]{
		Const:    func(v int64) int64 { return v },
		Symbol:   func(s string) int64 { return at[s] },
		Add:      func(a, b int64) int64 { return a + b },
		Mul:      func(a, b int64) int64 { return a * b },
		FloorDiv: floorDiv,
		Mod:      floorMod,
		Min:      func(a, b int64) int64 { return min(a, b) },
		Max:      func(a, b int64) int64 { return max(a, b) },
	}
	for _, s := range []string{"0", "5", "n", "-n", "3*n*m - 2*m + 1", "n*n", "(n - 9) // 2", "(n + m) % 4", "2*max(n, m, 4)*min(n, m)", "ceildiv(n, 2)"} {
		e, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		want, err := e.Eval(func(name string) (int64, bool) { v, ok := at[name]; return v, ok })
		if err != nil {
			t.Fatal(err)
		}
		if got := Fold(e, ints); got != want {
			t.Errorf("Fold(%s) = %d, want %d", s, got, want)
		}
	}
}
