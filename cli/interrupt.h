/* interrupt.h - the user, or the system, wants the program to end. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

/* From now on a first SIGINT or SIGTERM is a wish, which interrupt_asked tells; one that comes more
 * than a second later kills. */
void interrupt_catch(void);

/* The number of the signal that came, 0: none. A program that ends for it exits with 128 + this, as
 * a shell says of a process that a signal ended. */
int interrupt_asked(void);

#endif
