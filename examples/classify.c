/* classify.c - classify pictures with a model file: the three best classes of each.
 *
 *     cc classify.c $(pkg-config --cflags --libs retort) -o classify
 *     ./classify student.safetensors shoe.pgm bag.pgm
 *
 * Pictures are raw PGM (P5) for models of one channel, raw PPM (P6) for models of three, eight bits
 * a number, of exactly the model's size. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include <retort/classifier.h>

struct picture {
    int channels, height, width;
    unsigned char *pixels; /* (channels, height, width), as retort_classify wants them */
};

/* A number of a PNM header: white space and comments may stand before it. -1: there is none. */
static int read_number(FILE *file)
{
    int c, number, comment = 0;
    do {
        c = getc(file);
        comment = c == '#' || (comment && c != '\n' && c != EOF);
    } while (comment || isspace(c));
    ungetc(c, file);
    return fscanf(file, "%d", &number) == 1 ? number : -1;
}

/* 0: the file's picture does not have the size and the channels that are asked for. */
static int read_picture(FILE *file, struct picture *picture)
{
    const int kind = picture->channels == 1 ? '5' : '6';
    if (getc(file) != 'P' || getc(file) != kind || read_number(file) != picture->width ||
        read_number(file) != picture->height || read_number(file) != 255)
        return 0;
    getc(file); /* one white space */
    const int plane = picture->height * picture->width;
    for (int i = 0; i < plane * picture->channels; i++) {
        int byte = getc(file);
        if (byte == EOF)
            return 0;
        picture->pixels[i % picture->channels * plane + i / picture->channels] =
            (unsigned char)byte;
    }
    return 1;
}

static void print_best(const retort_classifier *classifier, const char *path, float *probabilities)
{
    const int classes = retort_classifier_classes(classifier);
    printf("%s:", path);
    for (int place = 0; place < 3 && place < classes; place++) {
        int best = 0;
        for (int i = 1; i < classes; i++)
            best = probabilities[i] > probabilities[best] ? i : best;
        printf("%s %s %.1f %%", place ? "," : "", retort_classifier_class_name(classifier, best),
               100.0 * (double)probabilities[best]);
        probabilities[best] = -1;
    }
    putchar('\n');
}

static int classify(retort_classifier *classifier, struct picture *picture, const char *path,
                    float *probabilities)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 0;
    }
    int good = read_picture(file, picture);
    fclose(file);
    if (!good) {
        fprintf(stderr, "%s: no raw P%c picture of %dx%d\n", path,
                picture->channels == 1 ? '5' : '6', picture->width, picture->height);
        return 0;
    }
    if (retort_classify(classifier, picture->pixels, 1, probabilities) != RETORT_OK) {
        fprintf(stderr, "%s: %s\n", path, retort_message());
        return 0;
    }
    print_best(classifier, path, probabilities);
    return 1;
}

int main(int argc, char **argv)
{
    retort_classifier *classifier;
    struct picture picture;
    float *probabilities;
    int failed = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL PICTURE...\n", argv[0]);
        return 2;
    }
    if (retort_classifier_open(argv[1], 1, &classifier) != RETORT_OK) {
        fprintf(stderr, "%s\n", retort_message());
        return 1;
    }
    retort_classifier_input(classifier, &picture.channels, &picture.height, &picture.width);
    picture.pixels =
        malloc((size_t)picture.channels * (size_t)picture.height * (size_t)picture.width);
    probabilities = malloc((size_t)retort_classifier_classes(classifier) * sizeof(float));
    if (!picture.pixels || !probabilities) {
        perror(argv[0]);
        return 1;
    }
    for (int i = 2; i < argc; i++)
        failed += !classify(classifier, &picture, argv[i], probabilities);
    free(probabilities);
    free(picture.pixels);
    retort_classifier_close(classifier);
    return failed ? 1 : 0;
}
