/* A camera for programs that are started with LD_PRELOAD of this: FFmpeg's v4l2 finds /dev/video0, YUYV 320x240 at 25 pictures/s, a bar that moves.
   While there is a file `gone` in the folder $CAMERA it is unplugged; while there is `silent`, its driver never answers. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 320, HEIGHT = 240, SIZE = 2 * WIDTH * HEIGHT, BUFFERS = 8 };

static int device = -1, waiting[BUFFERS];
static unsigned head, tail, pictures;
static unsigned char *memory[BUFFERS];

static int told(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("CAMERA"), name);
    return access(path, F_OK) == 0;
}

static int fail(int number) {
    errno = number;
    return -1;
}

static int open_with(const char *symbol, const char *path, int flags, int mode) {
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, symbol);
    if (strcmp(path, "/dev/video0"))
        return real(path, flags, mode);
    if (told("gone"))
        return fail(ENOENT);
    head = tail = 0;
    return device = real("/dev/null", flags);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    return open_with("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    return open_with("open64", path, flags, mode);
}

int close(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    if (file == device)
        device = -1;
    return real(file);
}

static void *map(const char *symbol, void *at, size_t size, int access, int flags, int file, off_t offset) {
    void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, symbol);
    if (file < 0 || file != device)
        return real(at, size, access, flags, file, offset);
    return memory[offset] = real(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

void *mmap(void *at, size_t size, int access, int flags, int file, off_t offset) { return map("mmap", at, size, access, flags, file, offset); }
void *mmap64(void *at, size_t size, int access, int flags, int file, off_t offset) { return map("mmap64", at, size, access, flags, file, offset); }

static void paint(unsigned char *picture, int bar) {
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        picture[2 * i] = (i % WIDTH + WIDTH - bar) % WIDTH < 40 ? 220 : 60;
        picture[2 * i + 1] = 128;
    }
}

static int next(struct v4l2_buffer *buffer) {
    struct timespec now;
    while (told("silent"))
        usleep(50000);
    if (told("gone"))
        return fail(ENODEV);
    if (head == tail)
        return fail(EAGAIN);
    usleep(40000);
    buffer->index = waiting[head++ % BUFFERS];
    paint(memory[buffer->index], 4 * pictures++ % WIDTH);
    clock_gettime(CLOCK_MONOTONIC, &now);
    buffer->timestamp.tv_sec = now.tv_sec;
    buffer->timestamp.tv_usec = now.tv_nsec / 1000;
    buffer->bytesused = SIZE;
    buffer->flags = 0;
    return 0;
}

static int answer(unsigned request, void *told) {
    struct v4l2_capability *camera = told;
    struct v4l2_format *format = told;
    struct v4l2_buffer *buffer = told;
    struct v4l2_streamparm *pace = told;
    switch (request) {
    case VIDIOC_QUERYCAP:
        camera->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    case VIDIOC_G_INPUT:
        *(int *)told = 0;
        return 0;
    case VIDIOC_ENUM_FMT:
        ((struct v4l2_fmtdesc *)told)->pixelformat = V4L2_PIX_FMT_YUYV;
        return ((struct v4l2_fmtdesc *)told)->index ? fail(EINVAL) : 0;
    case VIDIOC_G_FMT:
    case VIDIOC_S_FMT:
        format->fmt.pix = (struct v4l2_pix_format){WIDTH, HEIGHT, V4L2_PIX_FMT_YUYV, V4L2_FIELD_NONE, 2 * WIDTH, SIZE};
        return 0;
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM:
        pace->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        pace->parm.capture.timeperframe = (struct v4l2_fract){1, 25};
        return 0;
    case VIDIOC_QUERYBUF:
        buffer->length = SIZE;
        buffer->m.offset = buffer->index;
        return 0;
    case VIDIOC_QBUF:
        waiting[tail++ % BUFFERS] = buffer->index;
        return 0;
    case VIDIOC_DQBUF:
        return next(buffer);
    case VIDIOC_REQBUFS:
        ((struct v4l2_requestbuffers *)told)->count = BUFFERS;
        return 0;
    case VIDIOC_ENUMINPUT:
    case VIDIOC_S_INPUT:
    case VIDIOC_STREAMON:
    case VIDIOC_STREAMOFF:
        return 0;
    }
    return fail(EINVAL);
}

int ioctl(int file, unsigned long request, ...) {
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    va_list rest;
    va_start(rest, request);
    void *told = va_arg(rest, void *);
    va_end(rest);
    return file < 0 || file != device ? real(file, request, told) : answer(request, told);
}
