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
	"pool": `program @pool[b, s, m](x: [b, s, m] f32, w: [b, s, m] f32, least: [] f32) -> (y: [b, m] f32) {
    r[i < b, j < m] f32 = sum(k < s) (x[i, k, j] * w[i, k, j])
    q[i < b, j < m] f32 = sum(k < s) w[i, k, j]
    y[i < b, j < m] = (r[i, j] / max(q[i, j], least[]))
  }`,
	"norm": `program @norm[b, m](x: [b, m] f32, least: [] f32) -> (y: [b, m] f32) {
    t[i < b, j < 1] f32 = sum(k < m) (x[i, k] * x[i, k])
    o[i < b, j < 1] f32 = max(sqrt(t[i, j]), least[])
    y[i < b, j < m] = (x[i, j] / o[i, 0])
  }`,
	"transpose": `program @transpose[n, m](x: [n, m] f32) -> (y: [m, n] f32) {
    y[i < m, j < n] = (x[j, i] + f32 1)
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
	"functions": `program @functions[n](x: [n] f32) -> (e: [n] f32, l: [n] f32, t: [n] f32, f: [n] f32, g: [n] f32) {
    e[i < n] = exp(x[i])
    l[i < n] = log(x[i])
    t[i < n] = tanh(x[i])
    f[i < n] = erf(x[i])
    g[i < n] = ((floor(x[i]) + ceil(neg(x[i]))) + (round(x[i]) * trunc(abs(x[i]))))
  }`,
}
