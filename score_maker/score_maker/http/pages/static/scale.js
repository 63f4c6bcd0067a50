// The scale of ratings, lowest first. Stars, the histogram's rows and all texts derive from it, so that a scale of
// other values changes this line alone. The API's own scale is in its OpenAPI document; a test compares the two.

export const SCALE = [1, 2, 3, 4, 5];
