const given = document.querySelector<HTMLMetaElement>('meta[name="lab-control"]')?.content

/** Undefined where no lab watches this shop. */
export const controlUrl: string | undefined = given?.startsWith('http') === true ? given : undefined
