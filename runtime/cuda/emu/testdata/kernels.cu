// Kernels for the test that compares the emulator with what Go computes, on code of another compiler.
#define GLOBAL extern "C" __attribute__((global)) void
#define DEVICE static __attribute__((device)) __inline__ __attribute__((always_inline))
#define SHARED __attribute__((shared))
#define TX __nvvm_read_ptx_sreg_tid_x()
#define TY __nvvm_read_ptx_sreg_tid_y()
#define BX __nvvm_read_ptx_sreg_ctaid_x()
#define BY __nvvm_read_ptx_sreg_ctaid_y()
#define BDX __nvvm_read_ptx_sreg_ntid_x()
#define GDX __nvvm_read_ptx_sreg_nctaid_x()
#define SYNC() __nvvm_bar_sync(0)

struct float4v { float x, y, z, w; } __attribute__((aligned(16)));

// y = silu(x) in the first, relu in the second, products in the others; vectors of four.
GLOBAL elementwise(const float4v *x, float4v *y, int n) {
  int i = BX * BDX + TX;
  if (i >= n) return;
  float4v v = x[i];
  float e = __nvvm_ex2_approx_f(v.x * -1.44269504f);
  v.x = v.x / (1.f + e);
  v.y = __builtin_fmaxf(v.y, 0.f);
  v.z = v.z * v.w;
  v.w = __builtin_fabsf(v.w) - v.z;
  y[i] = v;
}

// C[m,n] = A[m,k] B[k,n] by tiles in shared memory.
GLOBAL matmul(const float *__restrict__ A, const float *__restrict__ B, float *C, int M, int N, int K) {
  SHARED static float As[16][17], Bs[16][17];
  int r = BY * 16 + TY, c = BX * 16 + TX;
  float acc = 0;
  for (int k0 = 0; k0 < K; k0 += 16) {
    As[TY][TX] = r < M && k0 + (int)TX < K ? A[r * K + k0 + TX] : 0.f;
    Bs[TY][TX] = c < N && k0 + (int)TY < K ? B[(k0 + TY) * N + c] : 0.f;
    SYNC();
#pragma unroll
    for (int k = 0; k < 16; k++) acc += As[TY][k] * Bs[k][TX];
    SYNC();
  }
  if (r < M && c < N) C[r * N + c] = acc;
}

DEVICE float shfl(float v, int o) { return __nvvm_shfl_sync_bfly_f32(0xffffffff, v, o, 31); }

// y[0] += all of x.
GLOBAL total(const float *x, float *y, int n) {
  float s = 0;
  for (int i = BX * BDX + TX; i < n; i += BDX * GDX) s += x[i];
  for (int o = 16; o; o >>= 1) s += shfl(s, o);
  if (TX % 32 == 0) __nvvm_atom_add_gen_f(y, s);
}

// Softmax over rows of n, a block each.
GLOBAL softmax(const float *x, float *y, int n) {
  SHARED static float part[32];
  x += (long)BX * n;
  y += (long)BX * n;
  float m = -__builtin_inff();
  for (int i = TX; i < n; i += BDX) m = __builtin_fmaxf(m, x[i]);
  for (int o = 16; o; o >>= 1) m = __builtin_fmaxf(m, shfl(m, o));
  if (TX % 32 == 0) part[TX / 32] = m;
  SYNC();
  m = part[0];
  for (int i = 1; i < (int)BDX / 32; i++) m = __builtin_fmaxf(m, part[i]);
  SYNC();
  float s = 0;
  for (int i = TX; i < n; i += BDX) {
    float e = __nvvm_ex2_approx_f((x[i] - m) * 1.44269504f);
    y[i] = e;
    s += e;
  }
  for (int o = 16; o; o >>= 1) s += shfl(s, o);
  if (TX % 32 == 0) part[TX / 32] = s;
  SYNC();
  s = 0;
  for (int i = 0; i < (int)BDX / 32; i++) s += part[i];
  for (int i = TX; i < n; i += BDX) y[i] /= s;
}

// The positions where x is not zero, in any order of groups of 32; how many go to count.
GLOBAL nonzero(const float *x, int *out, int *count, int n) {
  int i = BX * BDX + TX;
  bool p = i < n && x[i] != 0.f;
  unsigned m = __nvvm_vote_ballot_sync(0xffffffff, p);
  int lane = TX & 31, base = 0;
  if (lane == 0) base = __nvvm_atom_add_gen_i(count, __builtin_popcount(m));
  base = __nvvm_shfl_sync_idx_i32(0xffffffff, base, 0, 31);
  if (p) out[base + __builtin_popcount(m & ((1u << lane) - 1))] = i;
}

// Integers of all sizes.
GLOBAL integers(const long *x, long *y, int n) {
  int i = BX * BDX + TX;
  if (i >= n) return;
  long v = x[2 * i], w = x[2 * i + 1] | 1;
  unsigned u = (unsigned)v, t = (unsigned)w;
  long r = v / w + v % w * 3;
  r ^= (long)(u / t) << 7 ^ (u % t);
  r += __builtin_popcountl(v) + __builtin_clz(t) * 5 + (signed char)v * (short)w;
  r ^= (long)((u << 7 | u >> 25) ^ __builtin_bswap32(t));
  r -= (long)(((unsigned __int128)(unsigned long)v * (unsigned long)w) >> 64);
  switch (u % 5) {
  case 0: r += 17; break;
  case 1: r = -r; break;
  case 2: for (unsigned k = 0; k < (t & 7); k++) r = r * 3 + 1; break;
  case 3: r ^= (r < w) ? v : w; break;
  default: r = r > 0 ? r >> 3 : r << 3;
  }
  y[i] = r;
}

// Conversions between floats and integers.
GLOBAL conversions(const float *x, float *y, int n) {
  int i = BX * BDX + TX;
  if (i >= n) return;
  float v = x[i];
  _Float16 h = (_Float16)v;
  y[8 * i] = (float)h;
  y[8 * i + 1] = (float)(_Float16)(h * h + (_Float16)1.0f);
  y[8 * i + 2] = (float)(int)v;
  y[8 * i + 3] = (float)(unsigned char)(int)v;
  y[8 * i + 4] = (float)((double)v * (double)v + 1.0);
  y[8 * i + 5] = __builtin_floorf(v) + __builtin_truncf(v * 2);
  y[8 * i + 6] = (float)(__bf16)v;
  y[8 * i + 7] = __builtin_sqrtf(__builtin_fabsf(v));
}

// A product of 16x8x16 on a tensor core, with A and B staged by asynchronous copies: A row-major, B by columns.
GLOBAL tensor(const unsigned *a, const unsigned *b, float *c) {
  SHARED static __attribute__((aligned(16))) unsigned sa[128], sb[64];
  unsigned l = TX, g = l >> 2, q = l & 3;
  unsigned pa = (unsigned)(unsigned long)(__attribute__((address_space(3))) unsigned *)&sa[l * 4];
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(pa), "l"(a + l * 4));
  if (l < 16) {
    unsigned pb = (unsigned)(unsigned long)(__attribute__((address_space(3))) unsigned *)&sb[l * 4];
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(pb), "l"(b + l * 4));
  }
  asm volatile("cp.async.commit_group;");
  asm volatile("cp.async.wait_group 0;");
  SYNC();
  float d0 = 0, d1 = 0, d2 = 0, d3 = 0;
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(d0), "+f"(d1), "+f"(d2), "+f"(d3)
               : "r"(sa[g * 8 + q]), "r"(sa[(g + 8) * 8 + q]), "r"(sa[g * 8 + q + 4]), "r"(sa[(g + 8) * 8 + q + 4]),
                 "r"(sb[g * 8 + q]), "r"(sb[g * 8 + q + 4]));
  c[g * 8 + q * 2] = d0;
  c[g * 8 + q * 2 + 1] = d1;
  c[(g + 8) * 8 + q * 2] = d2;
  c[(g + 8) * 8 + q * 2 + 1] = d3;
}
