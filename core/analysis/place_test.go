package analysis_test

import (
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
)

// checkPlacement places pieces and holds the placement against what it must be.
func checkPlacement(t *testing.T, lives []analysis.Life, sizes []int64) (total, largest int64) {
	t.Helper()
	p := analysis.NewPlacer(lives)
	offsets := make([]int64, len(lives))
	total, ok := p.Place(sizes, offsets)
	if !ok {
		t.Fatalf("%v with lives %v are not placed", sizes, lives)
	}
	up := func(n int64) int64 { return (n + analysis.Align - 1) / analysis.Align * analysis.Align }
	naive, steps := int64(0), map[int]int64{}
	for i, l := range lives {
		naive += up(sizes[i])
		if offsets[i] < 0 || offsets[i]%analysis.Align != 0 || offsets[i]+sizes[i] > total {
			t.Fatalf("piece %d of %d bytes lies at %d of %d", i, sizes[i], offsets[i], total)
		}
		for s := l.From; s <= l.To; s++ {
			steps[s] += up(sizes[i])
		}
		for j := range i {
			if l.From <= lives[j].To && lives[j].From <= l.To && offsets[i] < offsets[j]+sizes[j] && offsets[j] < offsets[i]+sizes[i] {
				t.Fatalf("pieces %d and %d are in use at a time and overlap: %v and %v, %d bytes at %d and %d bytes at %d",
					i, j, l, lives[j], sizes[i], offsets[i], sizes[j], offsets[j])
			}
		}
	}
	for _, n := range steps {
		largest = max(largest, n)
	}
	if got := p.Largest(sizes); got != largest {
		t.Fatalf("largest set in use is %d, told %d; lives %v sizes %v", largest, got, lives, sizes)
	}
	if total < largest || total > naive {
		t.Fatalf("%d bytes, not from %d (in use at a time) to %d (all of them)", total, largest, naive)
	}
	return total, largest
}

func randomPieces(r *rand.Rand) ([]analysis.Life, []int64) {
	n, steps := r.IntN(60), 1+r.IntN(40)
	lives, sizes := make([]analysis.Life, n), make([]int64, n)
	for i := range lives {
		from := r.IntN(steps)
		to := from + r.IntN(1+r.IntN(steps-from))
		lives[i] = analysis.Life{From: from, To: to}
		switch r.IntN(4) {
		case 0:
			sizes[i] = r.Int64N(3) * 64
		case 1:
			sizes[i] = 1 << r.IntN(20)
		default:
			sizes[i] = r.Int64N(1 << r.IntN(30))
		}
	}
	return lives, sizes
}

func TestPlaceRandom(t *testing.T) {
	var total, largest int64
	for seed := range uint64(3000) {
		lives, sizes := randomPieces(rand.New(rand.NewPCG(seed, 1)))
		a, b := checkPlacement(t, lives, sizes)
		total, largest = total+a/1024, largest+b/1024
	}
	if total > largest+largest/20 {
		t.Errorf("%d KiB are taken where %d are in use: more than a twentieth over", total, largest)
	}
}

func FuzzPlace(f *testing.F) {
	f.Add([]byte{0, 3, 10, 1, 2, 20, 2, 3, 30})
	f.Fuzz(func(t *testing.T, data []byte) {
		var lives []analysis.Life
		var sizes []int64
		for ; len(data) >= 3 && len(lives) < 200; data = data[3:] {
			lives = append(lives, analysis.Life{From: int(data[0]), To: int(data[0]) + int(data[1]%32)})
			sizes = append(sizes, int64(data[2]%16)<<(data[2]/16*2))
		}
		checkPlacement(t, lives, sizes)
	})
}

func TestPlaceKnown(t *testing.T) {
	life := func(from, to int) analysis.Life { return analysis.Life{From: from, To: to} }
	for name, c := range map[string]struct {
		lives []analysis.Life
		sizes []int64
		total int64
	}{
		"nothing":                {nil, nil, 0},
		"empty pieces":           {[]analysis.Life{life(0, 9), life(0, 9)}, []int64{0, 0}, 0},
		"two halves of a larger": {[]analysis.Life{life(0, 1), life(2, 3), life(2, 3)}, []int64{128, 64, 64}, 128},
		"a chain":                {[]analysis.Life{life(0, 1), life(1, 2), life(2, 3), life(3, 4)}, []int64{64, 64, 64, 64}, 128},
		"a chain that grows":     {[]analysis.Life{life(0, 1), life(1, 2), life(2, 3)}, []int64{64, 128, 192}, 320},
	} {
		if total, _ := checkPlacement(t, c.lives, c.sizes); total != c.total {
			t.Errorf("%s: %d bytes, want %d", name, total, c.total)
		}
	}
}

func TestPlaceRefuses(t *testing.T) {
	p := analysis.NewPlacer([]analysis.Life{{From: 0, To: 1}, {From: 1, To: 2}})
	for _, sizes := range [][]int64{{-1, 0}, {1 << 62, 0}, {analysis.MaxPlaced, 1}} {
		if n, ok := p.Place(sizes, make([]int64, 2)); ok {
			t.Errorf("%v take %d bytes", sizes, n)
		}
	}
	if _, ok := p.Place([]int64{1 << 40, 1 << 40}, make([]int64, 2)); !ok {
		t.Error("two tebibytes are refused")
	}
}

func BenchmarkPlace(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const n = 400
	lives, sizes := make([]analysis.Life, n), make([]int64, n)
	for i := range lives { // as in a deep network: most lives are short
		lives[i] = analysis.Life{From: i, To: i + 1 + r.IntN(1+r.IntN(20))}
		sizes[i] = int64(1+r.IntN(16)) << (10 + r.IntN(8))
	}
	p, offsets := analysis.NewPlacer(lives), make([]int64, n)
	for b.Loop() {
		p.Place(sizes, offsets)
	}
}
