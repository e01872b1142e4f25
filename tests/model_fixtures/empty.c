/* A library of no use to anybody. */
int pillion_empty;
