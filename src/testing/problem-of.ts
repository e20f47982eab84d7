import { RecipeError } from "../errors.ts";
import { parseRecipe } from "../plan/recipe/parse-recipe.ts";

/** The sentence that refuses a recipe. @throws if it is accepted, or refused by another error */
export function problemOf(text: string): string {
  try {
    parseRecipe(text);
  } catch (error) {
    if (error instanceof RecipeError) return error.message;
    throw error;
  }
  throw new Error("the recipe was accepted");
}
