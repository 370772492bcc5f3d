/** Sessions made before any comes back that say so: a visitor's first answer may be its last. */
const MADE_IN_VAIN = 20

/** Watches whether session cookies come back at all: a Secure cookie sent over plain HTTP is dropped without a word. */
export interface Returning {
  made(): void
  cameBack(): void
}

export function watchReturning(isSecure: boolean, warn: (message: string) => void): Returning {
  let left = MADE_IN_VAIN
  return {
    made() {
      if (!isSecure || left === 0) return
      left -= 1
      if (left > 0) return
      warn(
        `holdfast: ${MADE_IN_VAIN} sessions were made and no cookie came back. A Secure cookie is not kept over plain HTTP: serve the site over https, or set cookie.secure: false while developing.`,
      )
    },
    cameBack() {
      left = 0
    },
  }
}
