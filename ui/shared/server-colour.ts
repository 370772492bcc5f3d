const COLOURS = 8

/** The class that gives a server its colour: the same on both pages. */
export function serverColour(id: string): string {
  const number = Number(id.replace(/\D+/g, '')) || 1
  return `server-${((number - 1) % COLOURS) + 1}`
}
