/* What can be wrong with a file or a machine, each with one line of text. */
#ifndef XK_STATUS_H
#define XK_STATUS_H

enum xk_status {
  XK_OK = 0,
  XK_BAD_OPTIONS,   /* not ours, another version, or a value out of range */
  XK_BAD_INPUT,     /* an input of another type or shape */
  XK_BAD_CONSTANT,  /* weights or a channel's numbers of another type or size, or not in the file */
  XK_BAD_OUTPUT,    /* an output of another type */
  XK_BAD_PADS,      /* windows that lie in the padding alone */
  XK_TOO_LARGE,     /* sizes whose product overflows our integers */
  XK_OVER_BUDGET,   /* more memory than a file of its size may ask for */
  XK_NO_MEMORY,
};

const char *xk_status_text(enum xk_status status);

#endif
