package kerneltest

// Examples are programs as they come from models.
var Examples = map[string]string{
	"gelu": `program @gelu[n, m](x: [n, m] f32, a: [m] f32, b: [m] f32, r: [n, m] f32) -> (y: [n, m] f32) {
    y[i < n, j < m] = (((((x[i, j] * a[j]) + b[j]) * f32 0.5) * (f32 1 + erf((((x[i, j] * a[j]) + b[j]) * f32 0.70710677)))) + r[i, j])
  }`,
	"flat": `program @flat[n, m](x: [n, m] f32, r: [n, m] f32) -> (y: [n, m] f32) {
    t[i < n, j < m] f32 = max((x[i, j] * f32 2), f32 0)
    y[i < n, j < m] = select((t[i, j] < r[i, j]), min(t[i, j], r[i, j]), (x[i, j] - r[i, j]))
  }`,
	"layernorm": `program @layernorm[n, m](C: [n, m] f32, Scale: [m] f32, B: [m] f32) -> (Y: [n, m] f32) {
    t1[i < n] f32 = sum(k < m) C[i, k]
    t2[i < n] f32 = (t1[i] / f32({m}))
    t3[i < n] f32 = sum(k < m) ((C[i, k] - t2[i]) * (C[i, k] - t2[i]))
    t4[i < n] f32 = (t3[i] / f32({m}))
    Y[i < n, k < m] = ((((C[i, k] - t2[i]) * (f32 1 / sqrt((t4[i] + f32 1e-12)))) * Scale[k]) + B[k])
  }`,
	"residual": `program @residual[n, m](A: [m] f32, P: [1, n, m] f32, R: [1, n, m] f32, Scale: [m] f32) -> (Y: [1, n, m] f32) {
    C[h < 1, i < n, k < m] f32 = ((A[k] + P[h, i, k]) + R[h, i, k])
    t1[h < 1, i < n] f32 = sum(k < m) C[h, i, k]
    t2[h < 1, i < n] f32 = (t1[h, i] / f32({m}))
    Y[h < 1, i < n, k < m] = ((C[h, i, k] - t2[h, i]) * Scale[k])
  }`,
	"softmax": `program @softmax[b, h, n, m](x: [b, h, n, m] f32, mask: [b, 1, n, m] f32) -> (y: [b, h, n, m] f32) {
    t2[i < b, j < h, k < n, l < m] f32 = ((x[i, j, k, l] * f32 0.17677669) + mask[i, 0, k, l])
    t3[i < b, j < h, k < n] f32 = max(l < m) t2[i, j, k, l]
    t4[i < b, j < h, k < n, l < m] f32 = exp((t2[i, j, k, l] - t3[i, j, k]))
    t5[i < b, j < h, k < n] f32 = sum(l < m) t4[i, j, k, l]
    y[i < b, j < h, k < n, l < m] = (t4[i, j, k, l] / t5[i, j, k])
  }`,
	"weights": `program @weights[n, m](x: [n, m] f32, b: [m] f32) -> (y: [n, m] f32, e: [n, m] f32, z: [n, m] f32) {
    t[i < n] f32 = max(l < m) (x[i, l] + b[l])
    e[i < n, l < m] = exp(((x[i, l] + b[l]) - t[i]))
    s[i < n] f32 = sum(l < m) e[i, l]
    y[i < n, l < m] = (e[i, l] / s[i])
    u[i < n] f32 = max(l < m) y[i, l]
    q[i < n] f32 = sum(l < m) exp((y[i, l] - u[i]))
    z[i < n, l < m] = select(((exp((y[i, l] - u[i])) / q[i]) < f32 0.5), (exp((y[i, l] - u[i])) / q[i]), f32 0)
  }`,
	"average": `program @average[b, s, m](x: [b, s, m] f32, w: [b, s, m] f32, least: [] f32) -> (y: [b, m] f32) {
    r[i < b, j < m] f32 = sum(k < s) (x[i, k, j] * w[i, k, j])
    q[i < b, j < m] f32 = sum(k < s) w[i, k, j]
    y[i < b, j < m] = (r[i, j] / max(q[i, j], least[]))
  }`,
	"norm": `program @norm[b, m](x: [b, m] f32, least: [] f32) -> (y: [b, m] f32) {
    t[i < b, j < 1] f32 = sum(k < m) (x[i, k] * x[i, k])
    o[i < b, j < 1] f32 = max(sqrt(t[i, j]), least[])
    y[i < b, j < m] = (x[i, j] / o[i, 0])
  }`,
	"windows": `program @windows[n, h, w](x: [n, 2*h, 2*w] f32, p: [n, 2*w] i32) -> (y: [n, h, w] f32, z: [n, h, w] f32, q: [n, w] i32) {
    y[i < n, j < h, k < w] = max(a < 3, b < 3) guard((((((((j * 2) + a) - 1) >= 0) & ((((j * 2) + a) - 1) < {2*h})) & ((((k * 2) + b) - 1) >= 0)) & ((((k * 2) + b) - 1) < {2*w})), x[i, (((j * 2) + a) - 1), (((k * 2) + b) - 1)], f32 -inf)
    z[i < n, j < h, k < w] = (x[i, (j * 2), (k * 2)] + x[i, ((j * 2) + 1), ((k * 2) + 1)])
    q[i < n, k < w] = p[i, ((k * 2) + 1)]
  }`,
	"matmul": `program @matmul[n, m, k](x: [n, k] f32, w: [k, m] f32) -> (y: [n, m] f32) {
    y[i < n, j < m] = sum(l < k) (x[i, l] * w[l, j])
  }`,
	"matmul16": `program @matmul16[n, m, k](x: [n, k] f16, w: [k, m] f16) -> (y: [n, m] f16) {
    t[i < n, j < m] f32 = sum(l < k) (f32(x[i, l]) * f32(w[l, j]))
    y[i < n, j < m] = f16(t[i, j])
  }`,
	"scores16": `program @scores16[b, h, n, m](q: [b, 40, h, n] f16, k: [b, m, h, 40] f16) -> (y: [b, h, n, m] f32) {
    y[i < b, j < h, r < n, c < m] = sum(l < 40) (f32(q[i, l, j, r]) * f32(k[i, c, j, l]))
  }`,
	"mixed": `program @mixed[n, m, k](x: [n, k] f32, w: [m, k] f16, v: [k, m] i8) -> (y: [n, m] f32, z: [n, m] f32) {
    y[i < n, j < m] = sum(l < k) (x[i, l] * f32(w[j, l]))
    z[i < n, j < m] = sum(l < k) (f32(v[l, j]) * x[i, l])
  }`,
	"sparse": `program @sparse[n, m, k](x: [n, k] f32, w: [k, m] f32) -> (y: [n, m] f32, z: [m, n] f32, v: [n, m] f32) {
    y[i < n, j < m] = sum(l < k) (x[i, l] * w[l, j]) sparse(x)
    z[i < m, j < n] = sum(l < k) (w[l, i] * x[j, l]) sparse(x finite, w finite)
    v[i < n, j < m] = sum(l < k) (x[i, l] * w[l, j]) sparse(w finite)
  }`,
	"sparse16": `program @sparse16[n, m, k](x: [n, k] f16, w: [m, k] f16) -> (y: [n, m] f32) {
    y[i < n, j < m] = sum(l < k) (f32(x[i, l]) * f32(w[j, l])) sparse(x finite)
  }`,
	"scores": `program @scores[b, h, n, m](q: [b, n, h, 8] f32, k: [b, m, h, 8] f32) -> (y: [b, h, n, m] f32) {
    t[i < b, j < h, r < n, c < m] f32 = sum(l < 8) (q[i, r, j, l] * k[i, c, j, l])
    y[i < b, j < h, r < n, c < m] = (t[i, j, r, c] * f32 0.35355338)
  }`,
	"conv": `program @conv[b, c, o, n](x: [b, c, (n + 2)] f32, w: [o, c, 3] f32) -> (y: [b, o, n] f32) {
    y[i < b, j < o, p < n] = sum(l < c, q < 3) (w[j, l, q] * x[i, l, (p + q)])
  }`,
	"transpose": `program @transpose[n, m](x: [n, m] f32) -> (y: [m, n] f32) {
    y[i < m, j < n] = (x[j, i] + f32 1)
  }`,
	"permuted": `program @permuted[a, b, c](x: [a, b, c] f32, w: [c, a, b] f32, l: [a, b, c] i64, e: [b, c, a] f64, u: [a, c] u8, h: [c, a] f16, t: [b, a] bool, k: [a, b] i32) -> (p: [a, c, b] f32, q: [c, a, b] f32, r: [c, b, a] i64, s: [a, b, c] f64, v: [c, a] u8, d: [a, c] f16, f: [a, b] bool, g: [b, a] i32, y: [a, b, c] f32) {
    p[i < a, k < c, j < b] = x[i, j, k]
    q[k < c, i < a, j < b] = (x[i, j, k] - w[k, i, j])
    r[k < c, j < b, i < a] = l[i, j, k]
    s[i < a, j < b, k < c] = (e[j, k, i] + f64(l[i, j, k]))
    v[k < c, i < a] = u[i, k]
    d[i < a, k < c] = f16((f32(h[k, i]) * f32(u[i, k])))
    f[i < a, j < b] = t[j, i]
    g[j < b, i < a] = k[i, j]
    y[i < a, j < b, k < c] = max((w[k, i, j] * x[i, j, k]), x[i, ({b - 1} - j), k])
  }`,
	"heads": `program @heads[b, s, h](x: [b, s, h, 32] f32) -> (y: [b, h, s, 32] f32) {
    y[i < b, j < h, k < s, l < 32] = x[i, k, j, l]
  }`,
	"both": `program @both[n, m](x: [n, m] f32) -> (y: [] f32, z: [] f32) {
    y[] = sum(i < n, j < m) x[i, j]
    z[] = max(i < n, j < m) tanh(x[i, j])
  }`,
	"half": `program @half[n, m](x: [n, m] f16, b: [m] f16, s: [] bf16) -> (y: [n, m] f16, z: [n, m] bf16, c: [n, m] bool) {
    y[i < n, j < m] = f16((f32(x[i, j]) * f32(b[j])))
    z[i < n, j < m] = bf16((f32(y[i, j]) * f32(s[])))
    c[i < n, j < m] = (f32(x[i, j]) < f32(z[i, j]))
  }`,
	"quantize": `program @quantize[n, m](x: [n, m] f32, scale: [] f32, zero: [] u8, w: [n, m] i8, s: [n] f32) -> (y: [n, m] u8, z: [n, m] f32, v: [n, m] i8) {
    y[i < n, j < m] = u8(max(min((round((x[i, j] / scale[])) + f32(zero[])), f32 255), f32 0))
    z[i < n, j < m] = ((f32(y[i, j]) - f32(zero[])) * (f32(w[i, j]) * s[i]))
    v[i < n, j < m] = i8((x[i, j] * f32 200))
  }`,
	"mask": `program @mask[n, m](c: [n, m] bool, d: [m] bool, e: [] bool, x: [n, m] f32, q: [n, m] i8, u: [m] u8, k: [n, m] i64, l: [n] i32) -> (y: [n, m] f32, r: [n] bf16) {
    y[i < n, j < m] = select((c[i, j] & (d[j] | e[])), (x[i, j] + (f32(q[i, j]) - f32(u[j]))), (f32(k[i, j]) * f32(l[i])))
    r[i < n] = bf16(f32(l[i]))
  }`,
	"embedding": `program @embedding[b, n, m](table: [30, m] f32, other: [n, m] f32, ids: [b, n] i64, kinds: [b] i32) -> (y: [b, n, m] f32, z: [b, n, m] f32) {
    c[i < b, j < n, k < m] f32 = (table[select((ids[i, j] < 0), (ids[i, j] + 30), ids[i, j]), k] + other[j, k])
    t[i < b, j < n] f32 = sum(k < m) c[i, j, k]
    y[i < b, j < n, k < m] = (c[i, j, k] - (t[i, j] / f32({m})))
    z[i < b, j < n, k < m] = table[max(i64(kinds[i]), 0), k]
  }`,
	"gather": `program @gather[n, m](x: [9, m] f32, w: [9] f64, l: [9] i64, h: [9, 5] f16, at: [n, m] i64, by: [m] i64) -> (y: [n, m] f32, z: [n, m] f64, v: [n, m] i64, u: [n, m] f16) {
    y[i < n, j < m] = x[(at[i, j] + 2), j]
    z[i < n, j < m] = w[max(at[i, j], 0)]
    v[i < n, j < m] = l[max(by[j], 0)]
    u[i < n, j < m] = h[(by[j] + 2), 3]
  }`,
	"pool": `program @pool[b, n, m](x: [b, 2, n, m] f32, q: [n, m] i8, w: [3, 3] f32) -> (y: [b, 2, n, m] f32, z: [b, 2, ((n + 1) // 2), ((m + 1) // 2)] f32, v: [n, m] i8) {
    y[i < b, c < 2, j < n, k < m] = max(p < 3, q < 3) (guard((((((j + p) - 1) >= 0) & (((j + p) - 1) < {n})) & ((((k + q) - 1) >= 0) & (((k + q) - 1) < {m}))), x[i, c, ((j + p) - 1), ((k + q) - 1)], f32 -1) * w[p, q])
    z[i < b, c < 2, j < (n + 1) // 2, k < (m + 1) // 2] = sum(p < 3, q < 3) guard((((((2 * j) + p) - 1) >= 0) & ((((((2 * j) + p) - 1) < {n}) & ((((2 * k) + q) - 1) >= 0)) & ((((2 * k) + q) - 1) < {m}))), x[i, c, (((2 * j) + p) - 1), (((2 * k) + q) - 1)], f32 0)
    v[j < n, k < m] = guard((k < 3), q[j, k], i8 7)
  }`,
	"upsample": `program @upsample[b, n, m](x: [b, n, m] f32, w: [2, 2] f32) -> (y: [b, (2 * n), (2 * m)] f32, z: [b, (n * m)] f32, v: [b, (2 * n), (2 * m)] f32) {
    y[i < b, k < 2*n, l < 2*m] = sum(p < 2, q < 2) (guard((((((k - p) >= 0) & (((k - p) % 2) == 0)) & (((k - p) // 2) < {n})) & ((((l - q) >= 0) & (((l - q) % 2) == 0)) & (((l - q) // 2) < {m}))), x[i, ((k - p) // 2), ((l - q) // 2)], f32 0) * w[p, q])
    z[i < b, k < n*m] = x[i, (({n*m - 1} - k) // {m}), (k % {m})]
    v[i < b, k < 2*n, l < 2*m] = x[i, (k // 2), (l // 2)]
  }`,
	"rolled": `program @rolled[b, n](x: [b, n] f32) -> (y: [b, n] f32, z: [b, n] f32, v: [n, b] f32) {
    y[i < b, j < n] = x[i, ((j + {n - 1}) % {n})]
    z[i < b, j < n] = x[i, ((j + {n}) // 2)]
    v[i < n, j < b] = x[j, ((i - 1) % {n})]
  }`,
	"joined": `program @joined[n, m](a: [n, m] f32, b: [n, 3] f32, c: [n, m] i64) -> (y: [n, (m + 3)] f32, z: [n, (m + 3)] i64) {
    y[i < n, j < m + 3] = guard((j < {m}), a[i, j], b[i, (j - {m})])
    z[i < n, j < m + 3] = guard((j < {m}), c[i, j], (j * i))
  }`,
	"numbers": `program @numbers[n, m](a: [n, m] i64, b: [m] i64, c: [n, m] i32, d: [m] i32, e: [n, m] f64, f: [n, m] f32, u: [n, m] u8, t: [n, m] bool) -> (p: [n, m] i64, q: [n, m] i32, r: [n, m] f64, s: [n, m] bool, v: [n, m] u8, w: [n, m] f32, x: [n, m] i64, y: [n, m] i32, z: [n] bool) {
    p[i < n, j < m] = max(min(((a[i, j] * b[j]) - 5), i64 7), (neg(a[i, j]) + abs(b[j])))
    q[i < n, j < m] = (((c[i, j] * d[j]) + (c[i, j] / d[j])) - ((c[i, j] % d[j]) + max(abs(c[i, j]), rem(c[i, j], d[j]))))
    r[i < n, j < m] = (max(sqrt(abs(e[i, j])), (e[i, j] / f64 3)) + (f64(a[i, j]) * floor(f64(f[i, j]))))
    s[i < n, j < m] = (((a[i, j] < b[j]) | (e[i, j] >= f64(f[i, j]))) & ((t[i, j] ^ bool(c[i, j])) | (i < j)))
    v[i < n, j < m] = u8(a[i, j])
    w[i < n, j < m] = ((f32(a[i, j]) + f32(c[i, j])) + (f32(e[i, j]) + f32(t[i, j])))
    x[i < n, j < m] = (i64(f[i, j]) + (i64(u[i, j]) | (i64(t[i, j]) + i64(c[i, j]))))
    y[i < n, j < m] = (i32(f[i, j]) + ((i32(a[i, j]) & i32(u[i, j])) ^ i32(e[i, j])))
    z[i < n] = or(j < m) s[i, j]
  }`,
	"counts": `program @counts[n, m](a: [n, m] i64, c: [n, m] i32, e: [n, m] f64, t: [n, m] bool) -> (p: [n] i64, q: [m] i32, r: [n] f64, s: [n] bool, v: [m] bool, w: [n] i64) {
    p[i < n] = sum(j < m) a[i, j]
    q[j < m] = prod(i < n) c[i, j]
    r[i < n] = max(j < m) e[i, j]
    s[i < n] = and(j < m) t[i, j]
    v[j < m] = or(i < n) (t[i, j] & (i > 0))
    w[i < n] = min(j < m) (a[i, j] * j)
  }`,
	"positions": `program @positions[n, m](x: [n, m] f32, w: [n, m] f64, k: [n, m] i64, c: [n, m] i32) -> (a: [n] i64, b: [m] i64, d: [n] i64, e: [n, 1] i64, f: [m] i32, g: [m] i64, v: [n] f32, y: [n, m] f32) {
    v, a[i < n] = argmax(l < m) x[i, l], l
    y[i < n, l < m] = (x[i, l] - v[i])
    v1, b[l < m] f32, i64 = argmin(i < n) (x[i, l] * f32 2), i
    v2, d[i < n] i64, i64 = argmin(l < m) k[i, ({m - 1} - l)], ({m - 1} - l)
    v3, e[i < n, j < 1] f64, i64 = argmax(l < m) w[i, l], l
    v4, f[l < m] i32, i32 = argmax(i < n) c[i, l], i32(i)
    v5, g[l < m] f32, i64 = argmax(i < n, p < 3) (x[i, l] * f32(p)), ((i * 3) + p)
  }`,
	"sums": `program @sums[b, n, m](x: [b, n, m] f32, k: [n, m] i64, t: [n, m] bool, w: [n] f64, c: [n, 1] i64) -> (a: [b, n, m] f32, d: [b, n, m] f32, e: [n, m] i64, f: [n, m] bool, g: [n] f64, h: [n, 1] i64) {
    a[i < b, j < n, l < m] = scan sum(l) x[i, j, l]
    d[i < b, j < n, l < m] = scan max(j, reverse) (x[i, j, l] * f32 2)
    e[i < n, l < m] = scan sum(l, exclusive, reverse) k[i, l]
    f[i < n, l < m] = scan or(i, exclusive) t[i, l]
    g[i < n] = scan prod(i) w[i]
    h[i < n, j < 1] = scan sum(j, exclusive) c[i, 0]
  }`,
	"angles": `program @angles[n](x: [n] f32) -> (s: [n] f32, c: [n] f32, t: [n] f32, a: [n] f32, b: [n] f32, d: [n] f32) {
    s[i < n] = sin(x[i])
    c[i < n] = cos(x[i])
    t[i < n] = tan(x[i])
    a[i < n] = asin(x[i])
    b[i < n] = acos((x[i] * f32 0.25))
    d[i < n] = atan(x[i])
  }`,
	"hyperbolic": `program @hyperbolic[n](x: [n] f32) -> (e: [n] f32, l: [n] f32, s: [n] f32, c: [n] f32, a: [n] f32, b: [n] f32, d: [n] f32) {
    e[i < n] = expm1(x[i])
    l[i < n] = log1p(x[i])
    s[i < n] = sinh(x[i])
    c[i < n] = cosh(x[i])
    a[i < n] = asinh(x[i])
    b[i < n] = acosh((x[i] + f32 1))
    d[i < n] = atanh((x[i] * f32 0.25))
  }`,
	"functions": `program @functions[n](x: [n] f32) -> (e: [n] f32, l: [n] f32, t: [n] f32, f: [n] f32, g: [n] f32) {
    e[i < n] = exp(x[i])
    l[i < n] = log(x[i])
    t[i < n] = tanh(x[i])
    f[i < n] = erf(x[i])
    g[i < n] = ((floor(x[i]) + ceil(neg(x[i]))) + (round(x[i]) * trunc(abs(x[i]))))
  }`,
}

// Scatters are programs of scatters, which machines have that put into a buffer what its Base holds.
var Scatters = map[string]string{
	"experts": `program @experts[n, r, m](zeros: [(n + 9), m] f32, x: [r, m] f32, w: [9] f32, at: [r] i64) -> (y: [(n + 9), m] f32) {
    y[i < r, j < m] = scatter sum(zeros, [select((at[i] < 0), (at[i] + {n + 9}), at[i]), j]) (x[i, j] * w[max(at[i], 0)])
  }`,
	"put": `program @put[r, m](x: [9, 3, m] f16, rows: [r, m] f16, at: [r] i64, of: [r] i32) -> (y: [9, 3, m] f16) {
    y[i < r, j < m] = scatter last(x, [(at[i] + 2), select((i64(of[i]) < 0), 0, min(i64(of[i]), 2)), j]) rows[i, j]
  }`,
	"whole": `program @whole[r, m](x: [9, m, 4] i64, rows: [r, m, 4] i64, at: [r] i64) -> (y: [9, m, 4] i64) {
    y[i < r, j < m, k < 4] = scatter sum(x, [max(at[i], 0), j, k]) rows[i, j, k]
  }`,
	"behind": `program @behind[b, n, m](x: [b, (n + 2), m] f32, rows: [b, n, m] f32) -> (y: [b, (n + 2), m] f32) {
    y[i < b, j < n, k < m] = scatter max(x, [i, (j + 2), k]) rows[i, j, k]
  }`,
	"along": `program @along[n, m](x: [2, m] f64, rows: [n, m] f64) -> (y: [2, m] f64) {
    y[i < n, j < m] = scatter min(x, [1, j]) rows[i, j]
  }`,
	"truth": `program @truth[n, m](x: [9, m] bool, rows: [n, m] bool, at: [n] i64) -> (y: [9, m] bool) {
    y[i < n, j < m] = scatter last(x, [(at[i] + 2), j]) rows[i, j]
  }`,
}
