/* winograd_products.h - the matrix products of Winograd's convolution, one of the 36 at a time.
 *
 * Each keeps a block of the result in registers: R rows times P vectors. The shapes fill the fused
 * multiply-add units from the first-level cache (116 of 116 GFLOP/s a core on Zen 4). Included by
 * winograd_passes.h only. */

enum { SUMS = WIDTH, PANEL = WIDTH / 4 }; /* half of the registers; blocks of oc at a time */

/* m (R tiles, P blocks of oc) = v (R tiles, ic) * u (ic, P blocks of oc); `apart` floats lie
 * between one block of channels and the next in v and m. */
INLINE void product(const int R, const int P, const float *v, const float *u, int icb, size_t apart,
                    float *m)
{
    vec sum[SUMS][PANEL];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int p = 0; p < P; p++)
            sum[r][p] = (vec){0};
    for (int b = 0; b < icb; b++, v += apart)
#pragma GCC unroll 4
        for (int i = 0; i < WIDTH; i++, u += P * WIDTH) {
            vec weights[PANEL];
#pragma GCC unroll 4
            for (int p = 0; p < P; p++)
                weights[p] = vec_get(u + p * WIDTH);
#pragma GCC unroll 16
            for (int r = 0; r < R; r++) {
                vec x = vec_all(v[r * WIDTH + i]);
#pragma GCC unroll 4
                for (int p = 0; p < P; p++)
                    sum[r][p] += x * weights[p];
            }
        }
#pragma GCC unroll 4
    for (int p = 0; p < P; p++)
#pragma GCC unroll 16
        for (int r = 0; r < R; r++)
            vec_put(m + p * apart + r * WIDTH, sum[r][p]);
}

INLINE void product_rows(const int R, const int P, const struct winograd_plan *plan, int tiles,
                         const float *v, const float *u, float *m)
{
    const size_t apart = (size_t)plan->room * WIDTH;
    int at = 0;
    for (; at + R <= tiles; at += R)
        product(R, P, v + at * WIDTH, u, plan->icb, apart, m + at * WIDTH);
    for (; at < tiles; at += WINOGRAD_ROWS)
        product(WINOGRAD_ROWS, P, v + at * WIDTH, u, plan->icb, apart, m + at * WIDTH);
}

/* One panel of `wide` blocks of oc. */
static void products(const struct winograd_plan *plan, int wide, int tiles, const float *v,
                     const float *u, float *m)
{
    if (wide == 1)
        product_rows(SUMS, 1, plan, tiles, v, u, m);
    else if (wide == 2)
        product_rows(SUMS / 2, 2, plan, tiles, v, u, m);
#if WIDTH == 16
    else if (wide == 3)
        product_rows(8, 3, plan, tiles, v, u, m);
    else
        product_rows(4, 4, plan, tiles, v, u, m);
#endif
}

/* du (I of ic, P blocks of oc) = or += sum over tiles of v (tile, ic) * m (tile, oc). */
INLINE void sum_product(const int I, const int P, const float *v, const float *m, size_t apart,
                        int tiles, bool add, float *du)
{
    vec sum[SUMS][PANEL];
#pragma GCC unroll 16
    for (int i = 0; i < I; i++)
#pragma GCC unroll 4
        for (int p = 0; p < P; p++)
            sum[i][p] = (vec){0};
    for (int tile = 0; tile < tiles; tile++, v += WIDTH, m += WIDTH) {
        vec y[PANEL];
#pragma GCC unroll 4
        for (int p = 0; p < P; p++)
            y[p] = vec_get(m + p * apart);
#pragma GCC unroll 16
        for (int i = 0; i < I; i++) {
            vec x = vec_all(v[i]);
#pragma GCC unroll 4
            for (int p = 0; p < P; p++)
                sum[i][p] += x * y[p];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < I; i++)
#pragma GCC unroll 4
        for (int p = 0; p < P; p++, du += WIDTH)
            vec_put(du, add ? sum[i][p] + vec_get(du) : sum[i][p]);
}

INLINE void sum_product_rows(const int I, const int P, const float *v, const float *m, size_t apart,
                             int tiles, bool add, float *du)
{
    for (int i = 0; i < WIDTH; i += I)
        sum_product(I, P, v + i, m, apart, tiles, add, du + i * P * WIDTH);
}

static void sum_products(const struct winograd_plan *plan, int tiles, const float *v,
                         const float *m, bool add, float *du)
{
    const size_t apart = (size_t)plan->room * WIDTH;
    for (int k = 0; k < plan->ocb; k += PANEL) {
        const int wide = winograd_panel_width(plan, k);
        const float *y = m + k * apart;
        for (int b = 0; b < plan->icb; b++, du += wide * WIDTH * WIDTH) {
            const float *x = v + b * apart;
            if (wide == 1)
                sum_product_rows(SUMS, 1, x, y, apart, tiles, add, du);
            else if (wide == 2)
                sum_product_rows(SUMS / 2, 2, x, y, apart, tiles, add, du);
#if WIDTH == 16
            else if (wide == 3)
                sum_product_rows(8, 3, x, y, apart, tiles, add, du);
            else
                sum_product_rows(4, 4, x, y, apart, tiles, add, du);
#endif
        }
    }
}
