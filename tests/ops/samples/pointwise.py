"""Element by element."""

LINES = """
add(x, y) => x + y
add(x, y, alpha=2) => x + 2 * y
add(n, k) => n + k
add(n, 2) => n + 2
add(z, z2) => z + z2
add(m, m2) => np.logical_or(m, m2)
sub(x, y, alpha=0.5) => x - 0.5 * y
sub(n, k, alpha=3) => n - 3 * k
rsub(x, y) => y - x
rsub(n, 2) => 2 - n
mul(x, y) => x * y
mul(x, 2.5) => x * 2.5
mul(n, k) => n * k
mul(z, z2) => z * z2
neg(x) => -x
neg(n) => -n
true_divide(x, q) => x / q
true_divide(z, z2) => z / z2
div(x, q) => x / q
div(x, q, rounding_mode='floor') => np.floor(x / q) # kink
div(n, k, rounding_mode='trunc') => np.trunc(n / k).astype(np.int64)
floor_divide(x, q) => np.floor_divide(x, q) # kink nograd
floor_divide(n, k) => n // k
remainder(x, q) => np.mod(x, q) # ties kink
remainder(n, k) => np.mod(n, k)
fmod(x, q) => np.fmod(x, q) # ties kink
fmod(n, k) => np.fmod(n, k)
rounded_divide(x, q, rounding_mode='floor') => np.floor(x / q) # kink
rounded_divide(n, k, rounding_mode='floor') => n // k
python_modulus(x, q) => np.mod(x, q) # ties kink
c_modulus(n, k) => np.fmod(n, k)
c_modulus(x, q) => np.fmod(x, q) # ties kink
power(p, x) => p ** x
pow(p, x) => p ** x
pow(x, 2) => x ** 2
pow(x, 3) => x ** 3
pow(q, -0.5) => q ** -0.5
pow(2.0, x) => 2.0 ** x
pow(n, 2) => n ** 2
pow(n, k) => n ** k
pow(z, 2) => z ** 2
float_power(q, x) => q ** x # f64 noinplace
float_power(k, n) => k.astype(float) ** n # f64 noinplace
abs(x) => np.abs(x)
abs(n) => np.abs(n)
abs(z) => np.abs(z) # noinplace
sign(x) => np.sign(x)
sign(n) => np.sign(n)
sgn(x) => np.sign(x)
sgn(z) => z / np.abs(z)
conj_kernel(z) => z.conj()
conj(z) => z.conj()
conj(x) => x
reciprocal(q) => 1 / q
reciprocal(z) => 1 / z
square(x) => x * x
square(n) => n * n
floor(x) => np.floor(x)
ceil(x) => np.ceil(x)
ceil(n) => n
trunc(x) => np.trunc(x)
round(x) => np.round(x)
round(x, decimals=1) => np.round(x, 1) # ties kink
frac(x) => x - np.trunc(x)
positive(x) => x
addcmul(x, y, q, value=0.5) => x + 0.5 * y * q
addcmul(n, k, n, value=2) => n + 2 * k * n
addcdiv(x, y, q, value=-0.5) => x - 0.5 * y / q
lerp(x, y, u) => x + u * (y - x)
lerp(x, y, 0.3) => x + 0.3 * (y - x)
maximum(x, y) => np.maximum(x, y) # kink
maximum(n, k) => np.maximum(n, k)
minimum(x, y) => np.minimum(x, y) # kink
minimum(m, m2) => np.minimum(m, m2)
fmax(x, y) => np.fmax(x, y) # kink
fmin(x, y) => np.fmin(x, y) # kink
fmin(n, k) => np.fmin(n, k)
clamp(x, -0.7, 0.8) => np.clip(x, -0.7, 0.8) # kink
clamp(x, min=y) => np.maximum(x, y) # kink
clamp(n, -2, 3) => np.clip(n, -2, 3)
clamp_min(x, -0.3) => np.maximum(x, -0.3) # kink
clamp_max(x, 0.3) => np.minimum(x, 0.3) # kink
logaddexp(x, y) => np.logaddexp(x, y)
logaddexp2(x, y) => np.logaddexp2(x, y)
hypot(x, y) => np.hypot(x, y)
atan2(x, y) => np.arctan2(x, y)
copysign(x, y) => np.copysign(x, y) # kink
nextafter(x, y) => np.nextafter(x, y) # f64 nograd
heaviside(x, y) => np.heaviside(x, y) # nograd
heaviside(n, k) => np.heaviside(n, k).astype(np.int64)
exp(x) => np.exp(x)
exp(z) => np.exp(z)
exp(n) => np.exp(n).astype(np.float32) # noinplace
exp2(x) => np.exp2(x)
expm1(x) => np.expm1(x)
log(q) => np.log(q)
log(z) => np.log(z)
log2(q) => np.log2(q)
log10(q) => np.log10(q)
log1p(q) => np.log1p(q)
sqrt(q) => np.sqrt(q)
sqrt(z) => np.sqrt(z)
sqrt(k) => np.sqrt(k).astype(np.float32) # noinplace
rsqrt(q) => 1 / np.sqrt(q)
sin(x) => np.sin(x)
sin(z) => np.sin(z)
cos(x) => np.cos(x)
tan(u) => np.tan(u)
asin(u) => np.arcsin(u)
acos(u) => np.arccos(u)
atan(x) => np.arctan(x)
sinh(x) => np.sinh(x)
cosh(x) => np.cosh(x)
tanh(x) => np.tanh(x)
tanh(z) => np.tanh(z)
asinh(x) => np.arcsinh(x)
acosh(q + 1) => np.arccosh(q + 1) # noinplace
atanh(u) => np.arctanh(u)
sigmoid(x) => sp.expit(x)
erf(x) => sp.erf(x)
erfc(x) => sp.erfc(x)
erfinv(u) => sp.erfinv(u)
lgamma(q) => sp.gammaln(q)
digamma(q) => sp.digamma(q)
mvlgamma(q + 2, 3) => sp.multigammaln(q + 2, 3) # noinplace
polygamma_of(q, n=2) => sp.polygamma(2, q)
special_i0(x) => sp.i0(x)
special_i0e(x) => sp.i0e(x)
special_i1(x) => sp.i1(x)
special_i1e(x) => sp.i1e(x)
special_ndtri(u) => sp.ndtri(u)
special_erfcx(x) => sp.erfcx(x)
special_log_ndtr(x) => sp.log_ndtr(x)
sinc(x) => np.sinc(x)
igamma(fixed, p) => sp.gammainc(fixed, p)
igammac(fixed + 3, q) => sp.gammaincc(fixed + 3, q)
bessel_j0(x) => sp.j0(x)
bessel_j1(x) => sp.j1(x)
bessel_y0(q) => sp.y0(q)
bessel_y1(q) => sp.y1(q)
modified_bessel_k0(q) => sp.k0(q)
modified_bessel_k1(q) => sp.k1(q)
scaled_modified_bessel_k0(q) => sp.k0e(q)
scaled_modified_bessel_k1(q) => sp.k1e(q)
airy_ai(x) => sp.airy(x)[0] # nograd
spherical_bessel_j0(x) => sp.spherical_jn(0, x) # nograd
chebyshev_polynomial_t(x, k) => sp.eval_chebyt(k, x) # nograd single
chebyshev_polynomial_u(x, k) => sp.eval_chebyu(k, x) # nograd single
chebyshev_polynomial_v(x, k) => sp.eval_chebyu(k, x) - sp.eval_chebyu(k - 1, x) # nograd single
chebyshev_polynomial_w(x, k) => sp.eval_chebyu(k, x) + sp.eval_chebyu(k - 1, x) # nograd single
shifted_chebyshev_polynomial_t(x, k) => sp.eval_chebyt(k, 2 * x - 1) # nograd single
shifted_chebyshev_polynomial_u(x, k) => sp.eval_chebyu(k, 2 * x - 1) # nograd single
shifted_chebyshev_polynomial_v(x, k) => sp.eval_chebyu(k, 2 * x - 1) - sp.eval_chebyu(k - 1, 2 * x - 1) # nograd single
shifted_chebyshev_polynomial_w(x, k) => sp.eval_chebyu(k, 2 * x - 1) + sp.eval_chebyu(k - 1, 2 * x - 1) # nograd single
hermite_polynomial_h(x, k) => sp.eval_hermite(k, x) # nograd single
hermite_polynomial_he(x, k) => sp.eval_hermitenorm(k, x) # nograd single
laguerre_polynomial_l(x, k) => sp.eval_laguerre(k, x) # nograd single
legendre_polynomial_p(x, k) => sp.eval_legendre(k, x) # nograd single
special_zeta(q + 1.5, q) => sp.zeta(q + 1.5, q) # nograd
standard_gamma(0 * q) => 0 * q # nograd
gamma_slope(q + 1, p) => R.gamma_slope(q + 1, p) # nograd single loose
xlogy(x, q) => sp.xlogy(x, q)
xlogy(0.0, q) => 0 * q # noinplace
logit(u) => sp.logit(u)
logit(u, eps=0.2) => sp.logit(np.clip(u, 0.2, 0.8)) # kink
deg2rad(x) => np.deg2rad(x)
rad2deg(x) => np.rad2deg(x)
angle(x) => np.angle(x)
angle(z) => np.angle(z) # noinplace
frexp(x) => np.frexp(x) # nograd noout
ldexp(x, n) => np.ldexp(x, n) # single
eq(n, k) => n == k
eq(x, y) => x == y
eq(z, z) => z == z
ne(n, 2) => n != 2
lt(x, y) => x < y
le(n, k) => n <= k
gt(x, 0.5) => x > 0.5
ge(m, m2) => m >= m2
isclose(x, y, rtol=0.5) => np.isclose(x, y, rtol=0.5) # ties
allclose(x, x) => True
allclose(x, y) => False
equal(n, n) => True
equal(n, k) => False
logical_and(x, m) => (x != 0) & m
logical_or(n, k) => (n != 0) | (k != 0)
logical_xor(m, n) => m ^ (n != 0)
logical_not(n) => n == 0
bitwise_and(n, k) => n & k
bitwise_or(n, k) => np.bitwise_or(n, k)
bitwise_or(m, m2) => np.bitwise_or(m, m2)
bitwise_xor(n, k) => n ^ k
bitwise_not(n) => ~n
bitwise_not(m) => ~m
bitwise_left_shift(n, k) => n << k
bitwise_right_shift(n, k) => n >> k
isnan(x) => np.isnan(x)
isinf(x) => np.isinf(x)
isfinite(x) => np.isfinite(x)
isfinite(n) => np.isfinite(n)
isposinf(x / 0) => x > 0 # noinplace
isneginf(x / 0) => x < 0 # noinplace
signbit(x) => np.signbit(x)
isreal(z) => np.isreal(z)
nan_to_num(x / 0, posinf=3.0, neginf=-2.0) => np.where(x > 0, 3.0, -2.0) # nograd noinplace
nan_to_num(x) => x
replaced(x, 0.0, 1.0, 2.0) => x
select_by(x, y, m) => np.where(m, x, y)
select_by(n, k, m) => np.where(m, n, k)
complex(x, y) => x + 1j * y # single noinplace
polar(q, x) => q * np.exp(1j * x) # single noinplace
masked_fill_number(x, m, 2.0) => np.where(m, 2.0, x)
masked_fill(x, m, 2.0) => np.where(m, 2.0, x)
masked_fill(n, m, 7) => np.where(m, 7, n)
gcd(n, k) => np.gcd(n, k)
lcm(n, k) => np.lcm(n, k)
relu(x) => np.maximum(x, 0) # kink
relu(n) => np.maximum(n, 0)
relu6(4 * x) => np.clip(4 * x, 0, 6) # kink noinplace
hardtanh(x, -0.7, 0.8) => np.clip(x, -0.7, 0.8) # kink
leaky_relu(x, 0.1) => np.where(x > 0, x, 0.1 * x) # kink
elu(x, 0.7) => np.where(x > 0, x, 0.7 * np.expm1(x))
selu(x) => 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))
celu(x, 0.6) => np.maximum(x, 0) + np.minimum(0, 0.6 * np.expm1(x / 0.6))
gelu(x) => x * sp.ndtr(x)
gelu(x, approximate='tanh') => 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))
silu(x) => x * sp.expit(x)
mish(x) => x * np.tanh(np.log1p(np.exp(x)))
softplus(x, 2, 3) => np.where(2 * x > 3, x, np.log1p(np.exp(2 * x)) / 2) # kink
logsigmoid(x) => -np.log1p(np.exp(-x))
hardsigmoid(2 * x) => np.clip(2 * x / 6 + 0.5, 0, 1) # kink noinplace
hardswish(2 * x) => 2 * x * np.clip(2 * x + 3, 0, 6) / 6 # kink noinplace
hardshrink(x, 0.6) => np.where(np.abs(x) > 0.6, x, 0) # kink
softshrink(x, 0.6) => np.sign(x) * np.maximum(np.abs(x) - 0.6, 0) # kink
tanhshrink(x) => x - np.tanh(x)
softsign(x) => x / (1 + np.abs(x))
threshold(x, 0.3, 5.0) => np.where(x > 0.3, x, 5.0) # kink
prelu_kernel(x, y) => np.where(x > 0, x, x * y) # kink
prelu(x, v) => np.where(x > 0, x, x * v) # kink
glu(x, 1) => x[:, :2] * sp.expit(x[:, 2:])
rrelu(x, 0.1, 0.3, False) => np.where(x > 0, x, 0.2 * x) # kink
mse_each(x, y) => (x - y) ** 2
mse_slope(x, y, q, 0.5) => x * (y - q)
l1_each(x, y) => np.abs(x - y) # kink
l1_slope(q, x, y, 0.5) => q * 0.5 * np.sign(x - y) # kink
huber_each(x, y, 0.7) => np.where(np.abs(x - y) <= 0.7, 0.5 * (x - y) ** 2, 0.7 * (np.abs(x - y) - 0.35)) # kink
huber_slope(q, x, y, 0.7, 2.0) => 2 * q * np.clip(x - y, -0.7, 0.7) # kink
bce_each(u, x) => -(x * np.log(u) + (1 - x) * np.log1p(-u))
bce_logits_each(x, u) => (1 - u) * x + np.log1p(np.exp(-x))
bce_logits_slope(x, u) => sp.expit(x) - u
"""
